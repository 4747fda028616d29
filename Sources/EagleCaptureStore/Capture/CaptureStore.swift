import EagleCore
import EagleModels
import Foundation

/// All shards of a capture store as one list of conversations. Reading is safe from any thread.
///
/// A shard is opened and checked when one of its conversations is read for the first time; a few stay open, so that a
/// store of thousands of shards opens at once and needs few descriptors.
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
  /// Shards that were compared with the manifest.
  private var checked: Set<Int> = []

  /// What is known of the shard files before any of them is opened.
  package enum Presence {
    /// All must be in the folder, each as large as the manifest says.
    case whole
    /// Another rank that sees this folder has looked.
    case known
    /// Those that are not in the folder are on other nodes.
    case partial
  }

  /// Opens a store by its manifest and the lengths of its conversations. No shard is opened.
  ///
  /// - Parameters:
  ///   - folder: the folder of the store
  ///   - lengths: tokens of each conversation
  ///   - presence: which shards are there
  /// - Throws: for a manifest that is missing, damaged or of other conversations, and for a missing shard
  package init(folder: String, lengths: [Int], presence: Presence) throws {
    (self.folder, self.lengths) = (folder, lengths)
    manifest = try CaptureManifest(folder: folder)
    starts = manifest.shards.reduce(into: [0]) { $0.append($0.last! + $1.conversations) }
    try Self.check(manifest, starts, lengths, folder)
    holds = try Self.found(manifest, folder, presence)
  }

  /// Opens a store whose lengths nothing else says: every shard is opened and checked once.
  ///
  /// - Parameter folder: the folder of the store
  /// - Throws: for a shard that is missing, incomplete, or not the manifest's
  package convenience init(folder: String) throws {
    let manifest = try CaptureManifest(folder: folder)
    let lengths = try manifest.shards.flatMap { entry in
      let shard = try CaptureShard(path: "\(folder)/\(entry.file)")
      try Self.check(shard, entry, manifest)
      return zip(shard.offsets.dropFirst(), shard.offsets).map { $0 - $1 }
    }
    try self.init(folder: folder, lengths: lengths, presence: .known)
  }

  /// Throws when the manifest is that of other conversations.
  private static func check(_ manifest: CaptureManifest, _ starts: [Int], _ lengths: [Int], _ folder: String) throws {
    let advice = "run the capture again"
    guard starts.last == lengths.count else {
      throw LocatedError(
        path: CaptureManifest.path(in: folder),
        problem: "lists \(starts.last!) conversations, the prepared data has \(lengths.count)", advice: advice)
    }
    for (index, entry) in manifest.shards.enumerated() {
      let tokens = lengths[starts[index]..<starts[index + 1]].reduce(0, +)
      guard tokens == entry.rows else {
        throw LocatedError(
          path: "\(folder)/\(entry.file)",
          problem: "has \(entry.rows) rows by the manifest, its conversations have \(tokens) tokens", advice: advice)
      }
    }
  }

  private static func found(_ manifest: CaptureManifest, _ folder: String, _ presence: Presence) throws -> [Bool] {
    if case .known = presence { return [Bool](repeating: true, count: manifest.shards.count) }
    let names = Set(try FileManager.default.contentsOfDirectory(atPath: folder))
    return try manifest.shards.map { entry in
      let path = "\(folder)/\(entry.file)"
      guard names.contains(entry.file) else {
        if case .partial = presence { return false }
        throw LocatedError(
          path: path, problem: "is missing", advice: "run the capture again; it writes what is missing")
      }
      if let bytes = entry.bytes, let size = Disk.size(of: path), size != bytes {
        throw LocatedError(
          path: path, problem: "has \(size) bytes, the manifest says \(bytes)",
          advice: "run the capture again; it replaces the shard")
      }
      return true
    }
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
    if !checked.contains(index) {
      try Self.check(file, manifest.shards[index], manifest)
      checked.insert(index)
    }
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
        advice: "remove the shard and run the capture again; it writes what is missing")
    }
    guard shard.rowCount == entry.rows, shard.conversationCount == entry.conversations else {
      throw LocatedError(
        path: shard.path,
        problem: "has \(shard.conversationCount) conversations in \(shard.rowCount) rows, the manifest "
          + "says \(entry.conversations) in \(entry.rows)", advice: "remove the shard and capture it again")
    }
  }
}
