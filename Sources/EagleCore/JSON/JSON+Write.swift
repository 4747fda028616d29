extension JSON {
  /// The layout of written JSON: the arguments of Python's `json.dumps`.
  package struct Format: Sendable, Equatable {
    package var itemSeparator = ","
    package var keySeparator = ":"
    /// Spaces of a level; nil writes one line.
    package var indent: Int?
    /// Whether characters above U+007F are written as escapes.
    package var ensuresASCII = false
    package var sortsKeys = false

    package init() {}

    /// No space at all.
    package static let compact = Format()

    /// A space after each comma and colon, as `json.dumps` writes by default and chat templates expect of `tojson`.
    package static var spaced: Format {
      var format = Format()
      (format.itemSeparator, format.keySeparator) = (", ", ": ")
      return format
    }

    /// A line for each element, as `json.dumps(indent: …)` writes.
    package static func indented(_ indent: Int) -> Format {
      var format = Format()
      (format.keySeparator, format.indent) = (": ", indent)
      return format
    }
  }

  /// The value as JSON text. Keys keep their order and numbers their spelling.
  package func text(_ format: Format = .compact) -> String {
    var writer = JSONWriter(format: format)
    writer.write(self, level: 0)
    return String(decoding: writer.bytes, as: UTF8.self)
  }
}

private struct JSONWriter {
  let format: JSON.Format
  private(set) var bytes: [UInt8] = []

  init(format: JSON.Format) { self.format = format }

  mutating func write(_ value: JSON, level: Int) {
    switch value {
    case .null: bytes += "null".utf8
    case .bool(let flag): bytes += (flag ? "true" : "false").utf8
    case .number(let spelling): bytes += spelling.utf8
    case .string(let text): write(text)
    case .array(let values):
      list("[", "]", values, level) { $0.write($1, level: level + 1) }
    case .object(let object):
      let entries = format.sortsKeys ? object.entries.sorted { isBefore($0.key, $1.key) } : object.entries
      list("{", "}", entries, level) {
        $0.write($1.key)
        $0.bytes += $0.format.keySeparator.utf8
        $0.write($1.value, level: level + 1)
      }
    }
  }

  private mutating func list<Element>(
    _ opening: String, _ closing: String, _ elements: [Element], _ level: Int,
    _ write: (inout JSONWriter, Element) -> Void
  ) {
    bytes += opening.utf8
    for (i, element) in elements.enumerated() {
      if i > 0 { bytes += format.itemSeparator.utf8 }
      breakLine(level + 1)
      write(&self, element)
    }
    if !elements.isEmpty { breakLine(level) }
    bytes += closing.utf8
  }

  private mutating func breakLine(_ level: Int) {
    guard let indent = format.indent else { return }
    bytes.append(UInt8(ascii: "\n"))
    bytes += repeatElement(UInt8(ascii: " "), count: indent * level)
  }

  private mutating func write(_ text: String) {
    bytes.append(UInt8(ascii: "\""))
    if format.ensuresASCII {
      for unit in text.utf16 { write(unit) }
    } else {
      for byte in text.utf8 { if byte < 0x80 { write(UInt16(byte)) } else { bytes.append(byte) } }
    }
    bytes.append(UInt8(ascii: "\""))
  }

  private mutating func write(_ unit: UInt16) { JSON.appendEscaped(unit, to: &bytes) }

  /// The order of code points, by which Python compares strings.
  private func isBefore(_ a: String, _ b: String) -> Bool { a.utf8.lexicographicallyPrecedes(b.utf8) }
}

extension JSON {
  /// Appends a UTF-16 code unit of a string as JSON spells it: what is not plain ASCII is escaped.
  package static func appendEscaped(_ unit: UInt16, to bytes: inout [UInt8]) {
    switch unit {
    case 0x22: bytes += "\\\"".utf8
    case 0x5c: bytes += "\\\\".utf8
    case 0x08: bytes += "\\b".utf8
    case 0x0c: bytes += "\\f".utf8
    case 0x0a: bytes += "\\n".utf8
    case 0x0d: bytes += "\\r".utf8
    case 0x09: bytes += "\\t".utf8
    case 0x20..<0x80: bytes.append(UInt8(unit))
    default:
      let digits = String(unit, radix: 16)
      bytes += "\\u".utf8
      bytes += repeatElement(UInt8(ascii: "0"), count: 4 - digits.count)
      bytes += digits.utf8
    }
  }
}
