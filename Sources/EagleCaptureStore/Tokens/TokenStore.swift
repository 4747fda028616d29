import EagleCore
import Foundation

/// Writes a token store: prepared conversations as ids and loss masks, in one HDF5 file.
///
/// The file gets its name in `finish()`; a writer that is released before leaves nothing.
package final class TokenStoreWriter {
  private let columns: ConversationColumnsWriter

  /// `attributes` are strings for the reader, for example the fingerprint of the data.
  package init(path: String, attributes: [String: String] = [:]) throws {
    FilePath(path).removeLeftovers()
    columns = try ConversationColumnsWriter(path: path, format: TokenStore.format, version: TokenStore.version)
    for (name, text) in attributes.sorted(by: { $0.key < $1.key }) {
      precondition(!TokenStore.reserved.contains(name), "the attribute `\(name)` belongs to the format")
      try columns.draft.file.setAttribute(name, text)
    }
  }

  /// Conversations appended so far.
  package var conversationCount: Int { columns.offsets.count - 1 }
  /// Tokens appended so far.
  package var tokenCount: Int { columns.rows }

  /// Appends a conversation; `mask` is 1 on tokens to train on and as long as `ids`.
  package func append(ids: [Int32], mask: [UInt8]) throws {
    try columns.append(ids: ids, mask: mask)
  }

  /// Writes what is still in memory and closes the file, which is complete from then on.
  package func finish() throws {
    try columns.finish()
  }
}

/// A token store of one or more files, read conversation by conversation. Reading is safe from any thread.
package final class TokenStore: Sendable {
  static let format = "eagle-tokens"
  static let version = 1
  static let reserved: Set<String> = ["format", "version", "complete"]

  private let files: [ConversationColumns]
  /// Number of the first conversation of each file, followed by the number of conversations.
  private let starts: [Int]
  /// Tokens of each conversation.
  package let lengths: [Int]

  /// Opens complete files, whose conversations are counted in the order of `paths`; anything else throws.
  package init(paths: [String]) throws {
    let files = try paths.map { try ConversationColumns(path: $0, format: Self.format, versions: 1...Self.version) }
    self.files = files
    starts = files.reduce(into: [0]) { $0.append($0.last! + $1.conversationCount) }
    lengths = files.flatMap { columns in zip(columns.offsets.dropFirst(), columns.offsets).map { $0 - $1 } }
  }

  package convenience init(path: String) throws { try self.init(paths: [path]) }

  package var conversationCount: Int { starts.last! }
  package var tokenCount: Int { files.reduce(0) { $0 + $1.rows } }

  /// Ids and loss mask of a conversation, of equal length.
  package func conversation(_ index: Int) throws -> (ids: [Int32], mask: [UInt8]) {
    let (file, own) = location(of: index)
    return try file.read(conversation: own)
  }

  /// The loss mask of a conversation.
  package func mask(_ index: Int) throws -> [UInt8] {
    let (file, own) = location(of: index)
    return try file.mask(conversation: own)
  }

  /// The file that a conversation is in, and its number there.
  private func location(of index: Int) -> (ConversationColumns, Int) {
    precondition(index >= 0 && index < conversationCount, "conversation \(index) of \(conversationCount)")
    let file = starts.partitioningIndex { $0 > index } - 1
    return (files[file], index - starts[file])
  }

  /// A string attribute that the first file's writer was given; nil when there is none.
  package func attribute(_ name: String) throws -> String? { try files.first?.file.text(name) }
}
