/// Python's `str` and `repr`.
extension Meter {
  /// What a value prints: Python's `str`.
  func text(of value: Value) throws -> Text {
    switch value {
    case .string(let text): return text.isMarkup ? text.plain : text
    case .undefined: return .empty
    case .none: return Text("None")
    case .bool(let flag): return Text(flag ? "True" : "False")
    case .int(let number): return Text(String(number))
    case .bigInt(let digits): return Text(digits)
    case .float(let number): return Text(Python.repr(number))
    default: return try repr(of: value)
    }
  }

  /// Python's `repr`. What is made of a container with data in it is data.
  func repr(of value: Value) throws -> Text {
    var bytes: [UInt8] = []
    try appendRepr(value, to: &bytes, 0)
    return Text(bytes, try hasData(value) ? .data : .template)
  }

  private func appendRepr(_ value: Value, to bytes: inout [UInt8], _ level: Int) throws {
    try charge(1)
    guard level <= deepestValue else { throw Fault("a value is nested more than \(deepestValue) deep") }
    switch value {
    case .string(let text):
      if text.isMarkup { bytes += "Markup(".utf8 }
      Python.appendRepr(text, to: &bytes)
      if text.isMarkup { bytes += ")".utf8 }
    case .undefined: bytes += "Undefined".utf8
    case .list(let list): try append("[", list.items, "]", to: &bytes, level)
    case .tuple(let tuple): try append("(", tuple.items, tuple.items.count == 1 ? ",)" : ")", to: &bytes, level)
    case .dict(let dict): try append(dict.entries, to: &bytes, level)
    case .view(let view): try append("dict_\(view.part)([", view.items, "])", to: &bytes, level)
    case .range(let range):
      let step = range.step == 1 ? "" : ", \(range.step)"
      bytes += "range(\(range.start), \(range.printedStop)\(step))".utf8
    case .namespace(let namespace):
      bytes += "<Namespace ".utf8
      try append(namespace.names.map { (.text($0), namespace[$0] ?? .none) }, to: &bytes, level)
      bytes += ">".utf8
    case .macro(let macro): bytes += "<Macro \(macro.definition.name.map { "'\($0)'" } ?? "anonymous")>".utf8
    case .loop(let loop): bytes += "<LoopContext \(loop.index)/\(try loop.length())>".utf8
    case .generator, .function, .method, .cycler, .joiner: throw Fault("a \(value.type) cannot be printed")
    case .none, .bool, .int, .bigInt, .float: bytes += try text(of: value).bytes
    }
    try charge(bytes: bytes.count, made: 0)
  }

  private func append(
    _ opening: String, _ items: [Value], _ closing: String, to bytes: inout [UInt8], _ level: Int
  ) throws {
    bytes += opening.utf8
    for (i, item) in items.enumerated() {
      if i > 0 { bytes += ", ".utf8 }
      try appendRepr(item, to: &bytes, level + 1)
    }
    bytes += closing.utf8
  }

  private func append(_ entries: [(Value, Value)], to bytes: inout [UInt8], _ level: Int) throws {
    bytes += "{".utf8
    for (i, entry) in entries.enumerated() {
      if i > 0 { bytes += ", ".utf8 }
      try appendRepr(entry.0, to: &bytes, level + 1)
      bytes += ": ".utf8
      try appendRepr(entry.1, to: &bytes, level + 1)
    }
    bytes += "}".utf8
  }
}

/// Spellings that are Python's.
enum Python {
  /// The shortest digits that read as the same number; an exponent below 1e-4 and from 1e16.
  static func repr(_ value: Double) -> String {
    guard value.isFinite else { return value.isNaN ? "nan" : value < 0 ? "-inf" : "inf" }
    let sign = value.sign == .minus ? "-" : ""
    guard value != 0 else { return sign + "0.0" }
    let (digits, point) = shortest(value.magnitude)
    if point > -4, point <= 16 {
      if point <= 0 { return sign + "0." + String(repeating: "0", count: -point) + digits }
      if digits.count <= point { return sign + digits + String(repeating: "0", count: point - digits.count) + ".0" }
      return sign + digits.prefix(point) + "." + digits.dropFirst(point)
    }
    let exponent = point - 1
    let mantissa = digits.count > 1 ? "\(digits.prefix(1)).\(digits.dropFirst())" : digits
    let padded = exponent.magnitude < 10 ? "0\(exponent.magnitude)" : "\(exponent.magnitude)"
    return "\(sign)\(mantissa)e\(exponent < 0 ? "-" : "+")\(padded)"
  }

  /// The digits without zeros around them, and how many of them are before the point.
  private static func shortest(_ value: Double) -> (digits: String, point: Int) {
    let parts = value.description.split(separator: "e")
    let number = parts[0].split(separator: ".", omittingEmptySubsequences: false)
    let fraction = number.count > 1 && number[1] != "0" ? String(number[1]) : ""
    let all = String(number[0]) + fraction
    let leading = all.prefix { $0 == "0" }.count
    var digits = String(all.dropFirst(leading))
    while digits.hasSuffix("0") { digits.removeLast() }
    let exponent = parts.count > 1 ? Int(parts[1]) ?? 0 : 0
    return (digits, number[0].count - leading + exponent)
  }

  static func appendRepr(_ text: Text, to bytes: inout [UInt8]) {
    let quote: UInt8 = text.bytes.contains(0x27) && !text.bytes.contains(0x22) ? 0x22 : 0x27
    bytes.append(quote)
    for scalar in text.string.unicodeScalars {
      switch scalar.value {
      case 0x5c: bytes += "\\\\".utf8
      case UInt32(quote): bytes += [0x5c, quote]
      case 0x0a: bytes += "\\n".utf8
      case 0x0d: bytes += "\\r".utf8
      case 0x09: bytes += "\\t".utf8
      case 0x20..<0x7f: bytes.append(UInt8(scalar.value))
      default: if isPrintable(scalar) { bytes += String(scalar).utf8 } else { bytes += escape(scalar).utf8 }
      }
    }
    bytes.append(quote)
  }

  private static func escape(_ scalar: Unicode.Scalar) -> String {
    let (prefix, count) = scalar.value < 0x100 ? ("\\x", 2) : scalar.value < 0x10000 ? ("\\u", 4) : ("\\U", 8)
    let digits = String(scalar.value, radix: 16)
    return prefix + String(repeating: "0", count: count - digits.count) + digits
  }

  static func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator: false
    case .spaceSeparator: scalar == " "
    default: true
    }
  }
}
