import Foundation

/// The lines of a file of conversations, one JSON object a line, in any of three shapes:
/// `{"id", "conversations": [{"role", "content"}]}` (EagleChat, SpecForge),
/// `{"id", "conversations": [{"from": "human" | "gpt" | "system", "value"}]}` (ShareGPT) and
/// `{"messages": [{"role", "content"}]}` (OpenAI). A message with `"cut": true` was broken off.
///
/// Files may be compressed with gzip or Zstandard. Blank lines are passed over. A caller who counts the lines in a
/// `ReadReport` learns when too many of them cannot be used.
package struct ConversationLines {
  private var lines: LineReader
  private let fileName: String

  /// Opens the file; throws with its path when that fails.
  package init(path: String) throws {
    lines = try LineReader(path: path)
    fileName = URL(fileURLWithPath: path).lastPathComponent
  }

  package var isCompressed: Bool { lines.isCompressed }

  /// Bytes of the file that the lines so far came from; an estimate where the file is compressed.
  package var bytesUsed: Double { lines.bytesUsed }

  /// Goes on with the first line that begins behind `offset` of a file that is not compressed, to read a part of it.
  package mutating func jump(behind offset: Int) throws { try lines.jump(behind: offset) }

  /// The next line that is not blank; nil after the last.
  package mutating func next() throws -> ConversationLine? {
    while let line = try lines.next() {
      if !line.isBlank { return ConversationLine(number: line.number, bytes: line.bytes, fileName: fileName) }
    }
    return nil
  }

  /// Passes over the lines up to number `last`.
  package mutating func skip(to last: Int) throws {
    while last > 0, let line = try lines.next(), line.number < last {}
  }
}
