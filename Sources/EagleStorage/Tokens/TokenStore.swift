import Foundation

/// Writes a token store: prepared conversations as ids and loss masks, in one HDF5 file.
///
/// The file gets its name in `finish()`; a writer that goes away before leaves nothing.
public final class TokenStoreWriter {
  private let columns: ConversationColumnsWriter

  /// `attributes` are strings for the reader, for example the fingerprint of the data.
  public init(path: String, attributes: [String: String] = [:]) throws {
    columns = try ConversationColumnsWriter(path: path, format: TokenStore.format, version: TokenStore.version)
    for (name, text) in attributes.sorted(by: { $0.key < $1.key }) {
      precondition(!TokenStore.reserved.contains(name), "the attribute `\(name)` belongs to the format")
      try columns.draft.file.setAttribute(name, text)
    }
  }

  /// Conversations appended so far.
  public var conversationCount: Int { columns.offsets.count - 1 }
  /// Tokens appended so far.
  public var tokenCount: Int { columns.rows }

  /// Appends a conversation; `mask` is 1 on tokens to train on and as long as `ids`.
  public func append(ids: [Int32], mask: [UInt8]) throws {
    try columns.append(ids: ids, mask: mask)
  }

  /// Writes what is still in memory and closes the file, which is complete from then on.
  public func finish() throws {
    try columns.finish()
  }
}

/// A token store, read conversation by conversation. Reading is safe from any thread.
public final class TokenStore: Sendable {
  static let format = "eagle-tokens"
  static let version = 1
  static let reserved: Set<String> = ["format", "version", "complete"]

  public let path: String
  private let columns: ConversationColumns

  /// Opens a complete store; anything else throws.
  public init(path: String) throws {
    self.path = path
    columns = try ConversationColumns(path: path, format: Self.format, version: Self.version)
  }

  public var conversationCount: Int { columns.conversationCount }
  public var tokenCount: Int { columns.rows }

  /// Tokens of each conversation.
  public var lengths: [Int] { zip(columns.offsets.dropFirst(), columns.offsets).map { $0 - $1 } }

  /// Ids and loss mask of a conversation, of equal length.
  public func conversation(_ index: Int) throws -> (ids: [Int32], mask: [UInt8]) {
    try columns.read(conversation: index)
  }

  /// A string attribute that the writer was given; nil when there is none.
  public func attribute(_ name: String) throws -> String? {
    try columns.file.text(name)
  }
}
