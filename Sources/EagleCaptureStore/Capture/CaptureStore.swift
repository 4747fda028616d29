import EagleCore
import EagleModels
import Foundation

/// All shards of a capture store as one list of conversations. Reading is safe from any thread.
///
/// Every shard is opened and checked once; a few stay open, so that a store of thousands of shards needs few
/// descriptors.
public final class CaptureStore: @unchecked Sendable {
  package let folder: String
  package let manifest: CaptureManifest
  /// Tokens of each conversation, shard after shard.
  package let lengths: [Int]

  /// Whether each shard is in the folder.
  package let holds: [Bool]

  /// First conversation of each shard, and the total.
  private let starts: [Int]
  private let lock = NSLock()
  private var open: [(shard: Int, file: CaptureShard)] = []  // last used at the end
  private static let openLimit = 8

  /// Opens the store. An incomplete shard, or one of another model than the manifest's, throws.
  ///
  /// - Parameters:
  ///   - folder: the folder of the store
  ///   - known: tokens of each conversation, for a store some of whose shards are elsewhere; without it a missing shard
  ///     throws, too
  ///   - each: called for each shard, to report progress
  package init(folder: String, lengths known: [Int]? = nil, each: () -> Void = {}) throws {
    self.folder = folder
    manifest = try CaptureManifest(folder: folder)
    var (lengths, starts, holds) = ([Int](), [0], [Bool]())
    for entry in manifest.shards {
      each()
      let path = "\(folder)/\(entry.file)"
      let range = lengths.count..<lengths.count + entry.conversations
      if let known, !FileTree.isFile(path), range.upperBound <= known.count {
        lengths += known[range]
        holds.append(false)
      } else {
        let shard = try CaptureShard(path: path)
        try Self.check(shard, entry, manifest)
        lengths += zip(shard.offsets.dropFirst(), shard.offsets).map { $0 - $1 }
        holds.append(true)
      }
      starts.append(lengths.count)
    }
    self.lengths = lengths
    self.starts = starts
    self.holds = holds
  }

  /// The shard that a conversation is in.
  package func shard(of conversation: Int) -> Int { location(of: conversation).shard }

  package var conversationCount: Int { lengths.count }
  package var tokenCount: Int { lengths.reduce(0, +) }

  /// Tokens, mask and states of a conversation; throws when its shard cannot be read.
  ///
  /// - Parameter states: rows of states that are wanted, from the first; all when nil
  package func read(conversation: Int, states: Int? = nil) throws -> CapturedConversation {
    let (shard, index) = location(of: conversation)
    return try self.shard(shard).read(conversation: index, states: states)
  }

  /// Reads a conversation's tokens without its states.
  package func readTokens(conversation: Int) throws -> (ids: [Int32], lossMask: [UInt8]) {
    let (shard, index) = location(of: conversation)
    return try self.shard(shard).readTokens(conversation: index)
  }

  /// The last shard that starts at or before the conversation, and the conversation's index in it.
  private func location(of conversation: Int) -> (shard: Int, index: Int) {
    precondition(
      conversation >= 0 && conversation < conversationCount, "conversation \(conversation) of \(conversationCount)")
    let shard = starts.partitioningIndex { $0 > conversation } - 1
    return (shard, conversation - starts[shard])
  }

  private func shard(_ index: Int) throws -> CaptureShard {
    lock.lock()
    defer { lock.unlock() }
    if let position = open.firstIndex(where: { $0.shard == index }) {
      let entry = open.remove(at: position)
      open.append(entry)
      return entry.file
    }
    let file = try CaptureShard(path: "\(folder)/\(manifest.shards[index].file)")
    if open.count == Self.openLimit { open.removeFirst() }
    open.append((index, file))
    return file
  }

  /// Throws when a shard is not the one of the manifest. One of version 1 has no fingerprint, and is taken for what the
  /// manifest says.
  package static func check(_ shard: CaptureShard, _ entry: CaptureManifest.Shard, _ manifest: CaptureManifest) throws {
    try shard.attributes.check(against: manifest.attributes, path: shard.path)
    if let found = shard.fingerprint, let expected = entry.fingerprint, found != expected {
      let what = found.tokens == expected.tokens ? "loss masks" : "tokens"
      throw LocatedError(
        path: shard.path, problem: "holds other \(what) than the manifest says",
        advice: "run the capture again; it replaces this shard")
    }
    guard shard.rowCount == entry.rows, shard.conversationCount == entry.conversations else {
      throw LocatedError(
        path: shard.path,
        problem: "has \(shard.conversationCount) conversations in \(shard.rowCount) rows, the manifest "
          + "says \(entry.conversations) in \(entry.rows)", advice: "remove the shard and capture it again")
    }
  }
}
