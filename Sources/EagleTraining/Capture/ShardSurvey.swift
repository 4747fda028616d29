import EagleStorage
import Foundation

/// What a folder has of a shard that is wanted.
enum ShardState: UInt8 {
  /// No complete shard, or one of other tokens.
  case missing
  /// The right tokens and states, but other loss masks, or none of the facts that version 1 does not record.
  case outdated
  case whole
}

/// A look at the shards in a folder, against what they have to hold. Changes nothing.
struct ShardSurvey {
  let attributes: CaptureAttributes
  /// What a shard without a recorded precision was asked to be captured in; nil when nothing says it.
  let oldPrecision: String?
  let requestedPrecision: String

  /// - Parameters:
  ///   - path: where the shard would be
  ///   - wanted: fingerprint of the conversations that belong into it
  /// - Throws: when a shard of another target, other layers or another precision is there: beside new ones it would make
  ///   a mixture
  func look(at path: String, for wanted: ConversationsFingerprint) throws -> ShardState {
    guard let shard = try? CaptureShard(path: path) else { return .missing }
    try shard.attributes.check(against: attributes, path: path)
    // Without a word on its precision a shard is as good as none.
    if shard.attributes.precision == .unknown, oldPrecision != requestedPrecision { return .missing }
    guard let found = shard.fingerprint ?? (try? shard.computedFingerprint()), found.tokens == wanted.tokens else {
      return .missing
    }
    return shard.fingerprint == wanted ? .whole : .outdated
  }
}
