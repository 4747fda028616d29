import Foundation

/// Python's format specification, `[[fill]align][sign][#][0][width][,][.precision][type]`.
struct NumberFormat {
  var fill: Text = Text(" ")
  var align: Unicode.Scalar?
  var sign: Unicode.Scalar = "-"
  var isAlternate = false
  var width = 0
  var grouping: Unicode.Scalar?
  var precision: Int?
  var type: Unicode.Scalar?

  init() {}

  init(_ specification: String) throws {
    var rest = Array(specification.unicodeScalars)[...]
    let aligns: Set<Unicode.Scalar> = ["<", ">", "=", "^"]
    if rest.count > 1, aligns.contains(rest[rest.startIndex + 1]) {
      fill = Text(String(rest.removeFirst()))
      align = rest.removeFirst()
    } else if let first = rest.first, aligns.contains(first) {
      align = rest.removeFirst()
    }
    func take(_ wanted: Set<Unicode.Scalar>) -> Unicode.Scalar? {
      guard let first = rest.first, wanted.contains(first) else { return nil }
      return rest.removeFirst()
    }
    func number() throws -> Int? {
      var digits = ""
      while let digit = take(Set("0123456789".unicodeScalars)) { digits.unicodeScalars.append(digit) }
      guard !digits.isEmpty else { return nil }
      guard let value = Int(digits), value <= 1 << 20 else { throw Fault("the width in a format is too large") }
      return value
    }
    sign = take(["+", "-", " "]) ?? "-"
    isAlternate = take(["#"]) != nil
    if rest.first == "0", take(["0"]) != nil, align == nil { (fill, align) = (Text("0"), "=") }
    width = try number() ?? 0
    grouping = take([",", "_"])
    if take(["."]) != nil {
      guard let digits = try number() else { throw Fault("the format '\(specification)' lacks a precision") }
      precision = digits
    }
    type = rest.popFirst()
    guard rest.isEmpty else { throw Fault("the format '\(specification)' is not valid") }
  }

  // MARK: values

  func format(_ value: Value, _ renderer: Renderer) throws -> Text {
    switch value {
    case .string(let text): return try format(text, renderer)
    case .bool where type == nil || type == "s": return try format(renderer.meter.text(of: value), renderer)
    case .bool, .int: return try padded(try digits(of: value.integer ?? 0), renderer)
    case .float(let number): return try padded(try digits(of: number), renderer)
    default:
      guard type == nil, width == 0, align == nil, precision == nil else {
        throw Fault("a \(value.type) cannot be formatted with a specification")
      }
      return try renderer.meter.text(of: value)
    }
  }

  private func format(_ text: Text, _ renderer: Renderer) throws -> Text {
    guard type == nil || type == "s", sign == "-", grouping == nil, align != "=" || fill.bytes == [0x30], !isAlternate
    else {
      throw Fault("the format does not suit a string")
    }
    let starts = text.boundaries
    let cut = precision.map { text.slice(0..<starts[min($0, starts.count - 1)]) } ?? text
    return try aligned(cut, align == "=" ? "<" : align ?? "<", renderer)
  }

  func aligned(_ text: Text, _ align: Unicode.Scalar, _ renderer: Renderer) throws -> Text {
    let missing = max(width - text.count, 0)
    try renderer.meter.charge(bytes: renderer.meter.product(missing, fill.bytes.count))
    let left = align == ">" || align == "=" ? missing : align == "^" ? missing / 2 : 0
    return fill.repeated(left) + text + fill.repeated(missing - left)
  }

  /// A sign with its prefix, and the digits.
  private func padded(_ number: (prefix: String, digits: String), _ renderer: Renderer) throws -> Text {
    guard align == "=" else {
      return try aligned(Text(number.prefix + number.digits), align ?? ">", renderer)
    }
    var inner = self
    inner.width = max(width - number.prefix.count, 0)
    return Text(number.prefix) + (try inner.aligned(Text(number.digits), ">", renderer))
  }

  private func signed(_ isNegative: Bool) -> String { isNegative ? "-" : sign == "-" ? "" : String(sign) }

  private func grouped(_ digits: String, by size: Int = 3) -> String {
    guard let grouping else { return digits }
    let whole = digits.prefix { $0.isHexDigit }
    var result = ""
    for (i, digit) in whole.enumerated() {
      if i > 0, (whole.count - i).isMultiple(of: size) { result.unicodeScalars.append(grouping) }
      result.append(digit)
    }
    return result + digits.dropFirst(whole.count)
  }

  func digits(of value: Int) throws -> (prefix: String, digits: String) {
    let radix: (Int, String)? =
      switch type {
      case nil, "d", "n": (10, "")
      case "x", "X": (16, type == "x" ? "0x" : "0X")
      case "o": (8, "0o")
      case "b": (2, "0b")
      default: nil
      }
    if type == "c" {
      guard let scalar = UInt32(exactly: value).flatMap(Unicode.Scalar.init) else {
        throw Fault("no character has that number")
      }
      return ("", String(scalar))
    }
    guard let (base, prefix) = radix else { return try digits(of: Double(value)) }
    guard precision == nil else { throw Fault("an integer is formatted without a precision") }
    let text = String(value.magnitude, radix: base, uppercase: type == "X")
    return (signed(value < 0) + (isAlternate ? prefix : ""), grouped(text, by: base == 10 ? 3 : 4))
  }

  func digits(of value: Double) throws -> (prefix: String, digits: String) {
    let isNegative = value.sign == .minus && !value.isNaN
    let magnitude = value.magnitude
    guard magnitude.isFinite else {
      let word = value.isNaN ? "nan" : "inf"
      return (signed(isNegative), "EFG".unicodeScalars.contains(type ?? "f") ? word.uppercased() : word)
    }
    let places = precision ?? 6
    guard places <= 1000 else { throw Fault("the precision in a format is too large") }
    var text: String
    switch type {
    case "f", "F": text = String(format: "%.\(places)f", magnitude)
    case "%": text = String(format: "%.\(places)f", magnitude * 100) + "%"
    case "e", "E": text = String(format: type == "e" ? "%.\(places)e" : "%.\(places)E", magnitude)
    case "g", "G": text = String(format: (isAlternate ? "%#" : "%") + ".\(places)" + String(type ?? "g"), magnitude)
    case nil:
      text = precision == nil ? Python.repr(magnitude) : try general(magnitude, places)
    default: throw Fault("the format '\(type.map(String.init) ?? "")' does not suit a number")
    }
    return (signed(isNegative), grouped(text))
  }

  /// Without a type: like `g`, but with at least one digit after the point.
  private func general(_ value: Double, _ precision: Int) throws -> String {
    let digits = max(precision, 1)
    let exponent = Int(String(format: "%.\(digits - 1)e", value).split(separator: "e").last ?? "0") ?? 0
    let text = String(format: "%.\(digits)g", value)
    if text.contains("e") || text.contains(".") { return text }
    guard exponent < digits - 1 || digits == 1 && exponent < 0 else {
      return String(format: "%.\(digits - 1)e", value).replacing(#/\.?0+e/#, with: "e")
    }
    return text + ".0"
  }
}
