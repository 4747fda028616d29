import EagleCaptureStore
import Foundation

/// The state of a required shard in a folder, in ascending order of usefulness. From `outdated` on, its states can be
/// kept.
enum ShardState: UInt8, Comparable {
  /// No shard, or a damaged one.
  case missing
  /// A shard of other tokens.
  case stale
  /// The right tokens and states, but other loss masks, or without the fields that version 1 does not record.
  case outdated
  case whole

  static func < (a: ShardState, b: ShardState) -> Bool { a.rawValue < b.rawValue }
}

/// Compares the shards in a folder with their required content. Changes nothing.
struct ShardSurvey {
  let attributes: CaptureAttributes
  /// The requested precision of a shard that records none; nil if it is unknown.
  let oldPrecision: String?
  let requestedPrecision: String

  /// - Parameters:
  ///   - path: the shard
  ///   - wanted: the fingerprint of the conversations that belong in it
  ///   - say: called with the reason if the shard must be captured again
  /// - Throws: for a shard of another target, other layers or another precision, since a store must not mix them, and
  ///   for an unreadable shard
  func look(
    at path: String, for wanted: ConversationsFingerprint, _ say: (String) -> Void
  ) throws -> ShardState {
    let shard: CaptureShard
    do {
      shard = try CaptureShard(path: path)
    } catch {
      guard access(path, R_OK) == 0 else { throw error }
      say("\(error); it is captured again")
      return .missing
    }
    try shard.attributes.check(against: attributes, path: path)
    // A shard of unknown precision cannot be used.
    if shard.attributes.precision == nil, oldPrecision != requestedPrecision {
      say("\(path) does not say its precision; it is captured again")
      return .missing
    }
    guard let found = shard.fingerprint ?? (try? shard.computedFingerprint()) else { return .missing }
    guard found.tokens == wanted.tokens else { return .stale }
    return shard.fingerprint == wanted ? .whole : .outdated
  }
}
