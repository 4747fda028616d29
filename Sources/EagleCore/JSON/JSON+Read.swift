import Foundation

extension JSON {
  /// The deepest nesting of arrays and objects that `read` takes.
  package static let usualDepth = 64

  /// Reads one JSON text, in time linear in its bytes.
  ///
  /// It is RFC 8259 to the letter except for a leading byte order mark, which is skipped: no comments, no trailing
  /// commas, no NaN. A key that comes twice has its last value. An escaped half of a surrogate pair has no Unicode
  /// character and is an error.
  ///
  /// - Parameters:
  ///   - bytes: UTF-8
  ///   - depth: deepest nesting of arrays and objects; each level takes some hundred bytes of stack
  /// - Throws: `JSONError`, which says where and what was expected
  package static func read(_ bytes: some ContiguousBytes, depth: Int = usualDepth) throws -> JSON {
    try bytes.withUnsafeBytes { raw in
      let bytes = raw.assumingMemoryBound(to: UInt8.self)
      var reader = JSONReader(bytes: bytes, depth: depth)
      do throws(JSONReader.Fault) {
        return try reader.document()
      } catch {
        throw JSONError(bytes, offset: error.offset, error.message)
      }
    }
  }
}

/// A text that is no JSON, or is nested too deeply.
package struct JSONError: Error, Equatable, CustomStringConvertible, LocalizedError {
  /// Bytes before the fault.
  package let offset: Int
  /// Its line and its byte in that line, both from 1.
  package let line: Int
  package let column: Int
  /// What was expected and what was found.
  package let message: String

  init(_ bytes: UnsafeBufferPointer<UInt8>, offset: Int, _ message: String) {
    let before = bytes[..<offset]
    self.offset = offset
    line = 1 + before.count { $0 == UInt8(ascii: "\n") }
    column = offset - (before.lastIndex(of: UInt8(ascii: "\n")) ?? -1)
    self.message = message
  }

  package var description: String { "line \(line), column \(column) (byte \(offset)): \(message)" }
  package var errorDescription: String? { description }
}
