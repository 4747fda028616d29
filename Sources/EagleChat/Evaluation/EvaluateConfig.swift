import EagleCore
import EagleDecoding

/// The settings of the measurement by real speculative decoding, before the first epoch and after each.
public struct EvaluateConfig: Config {
  /// Tokens drafted in one round, so that a round yields at most one more.
  public var draftLength = 3
  /// Tokens generated for one prompt, at most.
  public var maxNewTokens = 256
  /// Name of each benchmark and its prompt file (JSON Lines).
  public var benchmarks: [String: String] = [:]
  /// Prompts taken from the start of each file, at most.
  public var limit = 40

  public init() {}

  public func validate() throws {
    try requireCount(draftLength, "draft_length")
    let most = DraftPlan.maxNodes
    try require(draftLength <= most, "draft_length", "must be \(most) or less, not \(draftLength)")
    try requireCount(maxNewTokens, "max_new_tokens")
    try requireCount(limit, "limit")
    for (name, path) in benchmarks.sorted(by: { $0.key < $1.key }) {
      try require(!path.isEmpty, "benchmarks.\(name)", "has no path")
    }
  }

  enum CodingKeys: String, CodingKey {
    case draftLength = "draft_length"
    case maxNewTokens = "max_new_tokens"
    case benchmarks
    case limit
  }
}
