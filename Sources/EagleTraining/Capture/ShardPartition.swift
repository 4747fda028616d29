import EagleCaptureStore
import EagleCore
import Foundation

/// The partition of the conversations into the shards of a store: consecutive ones, in the order of the data.
struct ShardPartition: Equatable {
  let shards: [Range<Int>]

  /// Partitions the conversations into shards.
  ///
  /// The shards of an earlier capture keep their boundaries while the number of their tokens changes by less than a
  /// factor of 2. Changed data then changes only its own shards, appended data only adds shards, and another
  /// `capture.shard_tokens` applies only to new ones.
  ///
  /// - Parameters:
  ///   - lengths: tokens of each conversation
  ///   - shardTokens: a shard is full once it holds them
  ///   - earlier: shards of an earlier capture, in order
  init(lengths: [Int], shardTokens: Int, keeping earlier: [Entry] = []) {
    var shards: [Range<Int>] = []
    var start = 0
    for entry in earlier {
      guard entry.conversations > 0, start + entry.conversations <= lengths.count else { break }
      let range = start..<start + entry.conversations
      let rows = lengths[range].reduce(0, +)
      guard rows <= 2 * entry.rows, 2 * rows >= entry.rows else { break }
      shards.append(range)
      start = range.upperBound
    }
    var tokens = 0
    for conversation in start..<lengths.count {
      tokens += lengths[conversation]
      if tokens >= shardTokens || conversation + 1 == lengths.count {
        shards.append(start..<conversation + 1)
        (start, tokens) = (conversation + 1, 0)
      }
    }
    self.shards = shards
  }

  /// The size of a shard.
  struct Entry: Codable, Equatable {
    var conversations: Int
    var rows: Int

    /// Whether sums of the counts stay within an `Int`.
    fileprivate var isPossible: Bool { 0...1 << 40 ~= conversations && 0...1 << 40 ~= rows }
  }

  func entries(lengths: [Int]) -> [Entry] {
    shards.map { Entry(conversations: $0.count, rows: lengths[$0].reduce(0, +)) }
  }

  // MARK: between two starts of a capture

  /// `partition.json` of an incomplete store; a complete store has the partition in its manifest.
  private static func path(in folder: String) -> String { "\(folder)/partition.json" }

  /// The partition of the shards in a folder; empty if it is unknown. Impossible counts are rejected.
  static func earlier(in folder: String) -> [Entry] {
    if let data = FileManager.default.contents(atPath: path(in: folder)),
      let entries = try? JSONDecoder().decode([Entry].self, from: data), entries.allSatisfy(\.isPossible)
    {
      return entries
    }
    let manifest = try? CaptureManifest(folder: folder)
    return manifest?.shards.map { Entry(conversations: $0.conversations, rows: $0.rows) } ?? []
  }

  func write(to folder: String, lengths: [Int]) throws {
    try AtomicFile.write(path: Self.path(in: folder), data: try JSONEncoder().encode(entries(lengths: lengths)))
  }

  static func remove(from folder: String) { try? FileManager.default.removeItem(atPath: path(in: folder)) }
}
