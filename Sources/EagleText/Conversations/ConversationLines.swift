import Foundation

/// The records of a data file, one JSON object a line or as the elements of one list, in any of these shapes:
/// `{"id", "conversations": [{"role", "content"}]}` (EagleChat, SpecForge),
/// `{"id", "conversations": [{"from": "human" | "gpt" | "system", "value"}]}` (ShareGPT),
/// `{"messages": [{"role", "content"}], "tools"}` (OpenAI), `{"instruction", "input", "output"}` (Alpaca),
/// `{"prompt", "response"}`, and `{"input_ids", "loss_mask"}`, which is tokenised already. A message with
/// `"cut": true` was cut off.
///
/// Files may be compressed with gzip or Zstandard. Blank lines are skipped. A caller who counts the lines in a
/// `ReadReport` learns when too many of them cannot be used.
package struct ConversationLines {
  private var records: RecordReader
  private let fileName: String

  /// Opens the file; throws with its path when that fails.
  package init(path: String) throws {
    records = try RecordReader(path: path)
    fileName = URL(fileURLWithPath: path).lastPathComponent
  }

  package var isCompressed: Bool { records.isCompressed }

  /// Bytes of the file that the records so far came from; an estimate where the file is compressed.
  package var bytesUsed: Double { records.bytesUsed }

  /// Continues with the first record that begins after `offset` of a file that is not compressed, to read a part of it.
  package mutating func jump(behind offset: Int) throws { try records.jump(behind: offset) }

  /// The next record; nil after the last.
  package mutating func next() throws -> ConversationLine? {
    try records.next().map { ConversationLine(number: $0.number, bytes: $0.bytes, fileName: fileName) }
  }

  /// Skips the records up to number `last`.
  package mutating func skip(to last: Int) throws {
    while last > 0, let record = try records.next(), record.number < last {}
  }
}
