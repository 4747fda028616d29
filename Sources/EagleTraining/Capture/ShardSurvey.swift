import EagleCaptureStore
import Foundation

/// What a folder has of a shard that is wanted, the least useful first. From `outdated` on its states can stay.
enum ShardState: UInt8, Comparable {
  /// No shard, or a damaged one.
  case missing
  /// A shard of other tokens.
  case stale
  /// The right tokens and states, but other loss masks, or none of the facts that version 1 does not record.
  case outdated
  case whole

  static func < (a: ShardState, b: ShardState) -> Bool { a.rawValue < b.rawValue }
}

/// A look at the shards in a folder, against what they have to hold. Changes nothing.
struct ShardSurvey {
  let attributes: CaptureAttributes
  /// The requested precision of a shard that records none; nil when nothing says it.
  let oldPrecision: String?
  let requestedPrecision: String

  /// - Parameters:
  ///   - path: the shard
  ///   - wanted: fingerprint of the conversations that belong into it
  ///   - say: called with a line for a shard that is captured again, and why
  /// - Throws: when a shard of another target, other layers or another precision is there: beside new ones it would
  ///   make a mixture; when it may not be read
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
    // Without a word on its precision a shard is as good as none.
    if shard.attributes.precision == nil, oldPrecision != requestedPrecision {
      say("\(path) does not say its precision; it is captured again")
      return .missing
    }
    guard let found = shard.fingerprint ?? (try? shard.computedFingerprint()) else { return .missing }
    guard found.tokens == wanted.tokens else { return .stale }
    return shard.fingerprint == wanted ? .whole : .outdated
  }
}
