import Foundation

/// A layout of JSON text. Keys are sorted, so that equal values have equal bytes.
package enum JSONStyle: Sendable {
  /// One line.
  case compact
  /// One line that spells `/` as `\/`.
  case compactEscaped
  /// A line for each field.
  case indented
  /// A line for each field, with `/` spelled as `\/`.
  case indentedEscaped

  /// The bytes of a value, without a line end after them.
  package func encode(_ value: some Encodable) throws -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = formatting
    return try encoder.encode(value)
  }

  /// The text of a value, for example to take a fingerprint from.
  package func text(_ value: some Encodable) throws -> String {
    String(decoding: try encode(value), as: UTF8.self)
  }

  private var formatting: JSONEncoder.OutputFormatting {
    switch self {
    case .compact: [.sortedKeys, .withoutEscapingSlashes]
    case .compactEscaped: [.sortedKeys]
    case .indented: [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    case .indentedEscaped: [.prettyPrinted, .sortedKeys]
    }
  }
}

extension AtomicFile {
  /// Replaces the file at `path` by the JSON text of a value: after a failure the old file is still there, whole.
  package static func writeJSON(_ value: some Encodable, to path: String, style: JSONStyle) throws {
    try write(path: path, data: try style.encode(value))
  }
}
