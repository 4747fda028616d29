/// `'…' % values`.
enum PercentFormat {
  static func format(_ text: Text, _ values: Value, _ renderer: Renderer) throws -> Text {
    var formatter = PercentFormatter(text: text, values: values, renderer: renderer)
    return try formatter.run()
  }
}

private struct PercentFormatter {
  let text: Text
  let values: Value
  let renderer: Renderer
  private var at = 0
  private var next = 0
  private var builder = TextBuilder()
  private var usedNames = false

  init(text: Text, values: Value, renderer: Renderer) {
    (self.text, self.values, self.renderer) = (text, values, renderer)
  }

  private var positional: [Value] {
    if case .tuple(let tuple) = values { return tuple.items }
    return [values]
  }

  mutating func run() throws -> Text {
    while at < text.bytes.count {
      let end = text.bytes[at...].firstIndex(of: UInt8(ascii: "%")) ?? text.bytes.count
      builder.append(text.slice(at..<end))
      at = end + 1
      if end < text.bytes.count { try conversion() }
      try renderer.meter.charge(bytes: builder.count, made: 64)
    }
    if !usedNames, next < positional.count, !isMapping {
      throw Fault("'%' gets more values than its string has places")
    }
    return builder.text
  }

  /// A dictionary need not be used up.
  private var isMapping: Bool {
    switch values {
    case .dict, .list, .range, .undefined: true
    default: false
    }
  }

  private func byte() throws -> UInt8 {
    guard at < text.bytes.count else { throw Fault("'%' at the end of a format") }
    return text.bytes[at]
  }

  private mutating func conversion() throws {
    var format = NumberFormat()
    var named: Value?
    if try byte() == UInt8(ascii: "(") { named = try name() }
    var (isLeft, isZero) = (false, false)
    loop: while true {
      switch try byte() {
      case UInt8(ascii: "-"): isLeft = true
      case UInt8(ascii: "0"): isZero = true
      case UInt8(ascii: "+"): format.sign = "+"
      case UInt8(ascii: " "): if format.sign == "-" { format.sign = " " }
      case UInt8(ascii: "#"): format.isAlternate = true
      default: break loop
      }
      at += 1
    }
    format.width = try number() ?? 0
    if try byte() == UInt8(ascii: ".") {
      at += 1
      format.precision = try number() ?? 0
    }
    let type = Unicode.Scalar(try byte())
    at += 1
    guard type != "%" else { return builder.append("%", text.origin(at: at - 1)) }
    guard let value = named ?? take() else { throw Fault("'%' gets fewer values than its string has places") }
    try append(value, type, &format, isLeft: isLeft, isZero: isZero)
  }

  private mutating func name() throws -> Value {
    guard case .dict(let dict) = values else { throw Fault("'%(name)' needs a dictionary") }
    let start = at + 1
    guard let end = text.bytes[start...].firstIndex(of: UInt8(ascii: ")")) else { throw Fault("'%(' has no ')'") }
    at = end + 1
    usedNames = true
    let key = Array(text.bytes[start..<end])
    guard let value = dict[.string(key)] else {
      throw Fault("there is no '\(String(decoding: key, as: UTF8.self))' to format")
    }
    return value
  }

  private mutating func number() throws -> Int? {
    guard try byte() != UInt8(ascii: "*") else { throw Fault("'*' in a format is not supported") }
    var digits = ""
    while (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(try byte()) {
      digits.unicodeScalars.append(Unicode.Scalar(try byte()))
      at += 1
    }
    guard !digits.isEmpty else { return nil }
    guard let value = Int(digits), value <= 1 << 20 else { throw Fault("the width in a format is too large") }
    return value
  }

  private mutating func take() -> Value? {
    let values = positional
    guard next < values.count else { return nil }
    next += 1
    return values[next - 1]
  }

  private mutating func append(
    _ value: Value, _ type: Unicode.Scalar, _ format: inout NumberFormat, isLeft: Bool, isZero: Bool
  ) throws {
    let align: Unicode.Scalar = isLeft ? "<" : ">"
    switch type {
    case "s", "r":
      let whole = try type == "s" ? renderer.meter.text(of: value) : renderer.meter.repr(of: value)
      let starts = whole.boundaries
      let cut = format.precision.map { whole.slice(0..<starts[min($0, starts.count - 1)]) } ?? whole
      builder.append(try format.aligned(cut, align, renderer))
    case "d", "i", "u", "x", "X", "o":
      guard format.precision == nil else { throw Fault("a precision of integers in '%' is not supported") }
      format.type = "diu".unicodeScalars.contains(type) ? "d" : type
      var whole = value
      if case .float(let number) = value, format.type == "d" { whole = .int(try Python.truncated(number)) }
      guard let integer = whole.integer else { throw Fault("'%\(type)' needs a number, not \(value.type)") }
      try append(.int(integer), &format, align, isZero: isZero && !isLeft)
    case "f", "F", "e", "E", "g", "G":
      guard let number = value.number else { throw Fault("'%\(type)' needs a number, not \(value.type)") }
      format.type = type
      try append(.float(number), &format, align, isZero: isZero && !isLeft)
    case "c":
      if case .string(let character) = value {
        guard character.count == 1 else { throw Fault("'%c' needs one character") }
        return builder.append(try format.aligned(character, align, renderer))
      }
      format.type = "c"
      try append(value, &format, align, isZero: false)
    default: throw Fault("'%\(type)' is not supported")
    }
  }

  private mutating func append(
    _ value: Value, _ format: inout NumberFormat, _ align: Unicode.Scalar, isZero: Bool
  ) throws {
    format.align = align
    if isZero { (format.fill, format.align) = (Text("0"), "=") }
    builder.append(try format.format(value, renderer))
  }
}

extension Python {
  /// `int()` of a float.
  static func truncated(_ number: Double) throws -> Int {
    guard let whole = Int(exactly: number.rounded(.towardZero)) else {
      throw Fault("\(repr(number)) is no integer of 64 bits")
    }
    return whole
  }
}

/// `'…'.format(values)`.
enum FormatString {
  static func format(_ text: Text, _ arguments: CallArguments, _ renderer: Renderer) throws -> Text {
    var (builder, at, automatic) = (TextBuilder(), 0, 0)
    let bytes = text.bytes
    while at < bytes.count {
      let byte = bytes[at]
      guard byte == UInt8(ascii: "{") || byte == UInt8(ascii: "}") else {
        let end = bytes[at...].firstIndex { $0 == UInt8(ascii: "{") || $0 == UInt8(ascii: "}") } ?? bytes.count
        builder.append(text.slice(at..<end))
        at = end
        continue
      }
      if at + 1 < bytes.count, bytes[at + 1] == byte {
        builder.append([byte], text.origin(at: at))
        at += 2
        continue
      }
      guard byte == UInt8(ascii: "{"), let end = bytes[at...].firstIndex(of: UInt8(ascii: "}")) else {
        throw Fault("a single brace in a format")
      }
      let field = String(decoding: bytes[at + 1..<end], as: UTF8.self)
      guard !field.contains("{") else { throw Fault("a format inside a format is not supported") }
      builder.append(try expand(field, arguments, &automatic, renderer))
      try renderer.meter.charge(bytes: builder.count, made: 64)
      at = end + 1
    }
    return builder.text
  }

  private static func expand(
    _ field: String, _ arguments: CallArguments, _ automatic: inout Int, _ renderer: Renderer
  ) throws -> Text {
    let parts = field.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    let conversion = parts[0].split(separator: "!", maxSplits: 1, omittingEmptySubsequences: false)
    let path = String(conversion[0])
    let head = String(path.prefix { $0 != "." && $0 != "[" })
    var value = try argument(head, arguments, &automatic)
    guard head.count == path.count else {
      value = try follow(path.dropFirst(head.count), from: value, renderer)
      return try finish(value, conversion, parts, renderer)
    }
    return try finish(value, conversion, parts, renderer)
  }

  private static func finish(
    _ value: Value, _ conversion: [Substring], _ parts: [Substring], _ renderer: Renderer
  ) throws -> Text {
    var value = value
    if conversion.count > 1 {
      switch conversion[1] {
      case "s": value = .string(try renderer.meter.text(of: value))
      case "r": value = .string(try renderer.meter.repr(of: value))
      default: throw Fault("'!\(conversion[1])' in a format is not supported")
      }
    }
    return try NumberFormat(parts.count > 1 ? String(parts[1]) : "").format(value, renderer)
  }

  private static func argument(
    _ name: String, _ arguments: CallArguments, _ automatic: inout Int
  ) throws -> Value {
    if name.isEmpty {
      guard automatic >= 0 else { throw Fault("numbered and unnumbered places in one format") }
      automatic += 1
      guard automatic <= arguments.positional.count else { throw Fault("a format gets too few values") }
      return arguments.positional[automatic - 1]
    }
    if let index = Int(name) {
      guard automatic <= 0 else { throw Fault("numbered and unnumbered places in one format") }
      automatic = -1
      guard arguments.positional.indices.contains(index) else { throw Fault("a format gets too few values") }
      return arguments.positional[index]
    }
    guard let value = arguments.named.first(where: { $0.name == name })?.value else {
      throw Fault("a format gets no value '\(name)'")
    }
    return value
  }

  /// `.name` and `[key]` after the name of a field.
  private static func follow(_ path: Substring, from value: Value, _ renderer: Renderer) throws -> Value {
    var (rest, value) = (path, value)
    while let first = rest.popFirst() {
      if first == "." {
        let name = String(rest.prefix { $0 != "." && $0 != "[" })
        rest = rest.dropFirst(name.count)
        guard case .dict = value else {
          value = try renderer.attribute(Attribute(name), of: value)
          continue
        }
        throw Fault("a format finds no attribute '\(name)'")
      }
      guard first == "[", let end = rest.firstIndex(of: "]") else { throw Fault("the path in a format is not valid") }
      let key = String(rest[..<end])
      rest = rest[rest.index(after: end)...]
      value = try renderer.item(of: value, at: Int(key).map { .int($0) } ?? .text(key))
      if case .undefined = value { throw Fault("a format finds no item '\(key)'") }
    }
    return value
  }
}
