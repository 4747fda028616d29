import EagleCore

/// `tojson` as transformers defines it: Python's `json.dumps`.
struct JSONFilter {
  private let meter: Meter
  private var ensuresASCII = false
  private var indent: [UInt8]?
  private var itemSeparator: [UInt8]
  private var keySeparator = Array(": ".utf8)
  private var sortsKeys = false
  private var bytes: [UInt8] = []

  /// The JSON of a value; what is made of data is data as a whole.
  static func text(of value: Value, _ arguments: CallArguments, _ renderer: Renderer) throws -> Text {
    var filter = try JSONFilter(arguments, renderer)
    try filter.write(value, 0)
    return Text(filter.bytes, try renderer.meter.hasData(value) ? .data : .template)
  }

  private init(_ arguments: CallArguments, _ renderer: Renderer) throws {
    meter = renderer.meter
    let names = ["ensure_ascii", "indent", "separators", "sort_keys"]
    let bound = try arguments.bound(to: names, of: "tojson")
    ensuresASCII = bound[0]?.isTrue ?? false
    switch bound[1].unlessNone {
    case nil: break
    case .string(let text)?: indent = text.bytes
    case let width?:
      let width = max(try width.requireInteger("'indent'"), 0)
      try meter.charge(bytes: width)
      indent = Array(repeating: UInt8(ascii: " "), count: width)
    }
    itemSeparator = Array((indent == nil ? ", " : ",").utf8)
    if let separators = bound[2].unlessNone {
      let pair = try renderer.items(of: separators)
      guard pair.count == 2 else { throw Fault("'separators' needs two strings") }
      itemSeparator = try pair[0].requireText("'separators'").bytes
      keySeparator = try pair[1].requireText("'separators'").bytes
    }
    sortsKeys = bound[3]?.isTrue ?? false
  }

  private mutating func write(_ value: Value, _ level: Int) throws {
    try meter.charge(bytes: bytes.count, made: 0)
    try meter.step()
    switch value {
    case .string(let text): try write(text)
    case .list(let list), .tuple(let list):
      try write("[", list.items, "]", level) { try $0.write($1, level + 1) }
    case .dict(let dict):
      let entries = sortsKeys ? try meter.sorted(dict.entries, reverse: false) { $0.0 } : dict.entries
      try write("{", entries, "}", level) { filter, entry in
        try filter.write(try filter.key(entry.0))
        filter.bytes += filter.keySeparator
        try filter.write(entry.1, level + 1)
      }
    case .undefined(let name): throw Fault("\(name ?? "a variable") is undefined and has no JSON")
    default: bytes += try scalar(value).utf8
    }
  }

  private func scalar(_ value: Value) throws -> String {
    switch value {
    case .none: return "null"
    case .bool(let flag): return flag ? "true" : "false"
    case .int(let number): return String(number)
    case .bigInt(let digits): return digits
    case .float(let number):
      return number.isFinite ? Python.repr(number) : number.isNaN ? "NaN" : number < 0 ? "-Infinity" : "Infinity"
    default: throw Fault("a \(value.type) has no JSON")
    }
  }

  private func key(_ key: Value) throws -> Text {
    if case .string(let text) = key { return text }
    guard let text = try? scalar(key) else { throw Fault("a \(key.type) cannot be a key in JSON") }
    return Text(text)
  }

  private mutating func write<Element>(
    _ opening: String, _ items: [Element], _ closing: String, _ level: Int,
    _ write: (inout JSONFilter, Element) throws -> Void
  ) throws {
    bytes += opening.utf8
    for (i, item) in items.enumerated() {
      if i > 0 { bytes += itemSeparator }
      try breakLine(level + 1)
      try write(&self, item)
    }
    if !items.isEmpty { try breakLine(level) }
    bytes += closing.utf8
  }

  private mutating func breakLine(_ level: Int) throws {
    guard let indent else { return }
    bytes.append(0x0a)
    try meter.charge(bytes: meter.product(indent.count, level))
    for _ in 0..<level { bytes += indent }
  }

  private mutating func write(_ text: Text) throws {
    try meter.charge(bytes: text.bytes.count)
    bytes.append(0x22)
    if ensuresASCII, !text.isASCII {
      for unit in text.string.utf16 { JSON.appendEscaped(unit, to: &bytes) }
    } else {
      for byte in text.bytes {
        if byte < 0x80 { JSON.appendEscaped(UInt16(byte), to: &bytes) } else { bytes.append(byte) }
      }
    }
    bytes.append(0x22)
  }
}
