import EagleCore
import EagleDecoding
import EagleDraft

/// The settings of the measurement by real speculative decoding, before the first epoch and after each.
public struct EvaluateConfig: Config {
  /// Tokens drafted in one round, so that a round yields at most one more.
  public var draftLength = 3
  /// The maximum number of tokens that are generated for one prompt.
  public var maxNewTokens = 256
  /// The prompt file (JSON Lines) of each benchmark, by name.
  public var benchmarks: [String: String] = [:]
  /// The maximum number of prompts that are read from the start of each file.
  public var limit = 40
  /// The temperature: 0 selects greedy decoding; above 0, answers are sampled and not compared with plain decoding.
  public var temperature = 0.0
  /// The seed of sampling, and of the choice of validation prompts.
  public var seed: UInt64 = 0
  /// Whether answers begin with reasoning, if the chat template has a switch for it.
  public var reasoning = Reasoning.auto
  /// The lengths in tokens to which texts of other prompts extend each prompt, ascending; each length is measured
  /// separately.
  public var contextLengths: [Int] = []
  /// The share of each benchmark's prompts that select the best head and are not reported; 0 selects by all prompts.
  public var validation = 0.0

  /// Creates the settings with all defaults.
  public init() {}

  /// Checks the ranges of all settings, and that benchmarks have paths.
  public func validate() throws {
    try requireCount(draftLength, "draft_length")
    let most = DraftPlan.maxNodes
    try require(draftLength <= most, "draft_length", "must be \(most) or less, not \(draftLength)")
    try requireCount(maxNewTokens, "max_new_tokens")
    try requireCount(limit, "limit")
    for (name, path) in benchmarks.sorted(by: { $0.key < $1.key }) {
      try require(!path.isEmpty, "benchmarks.\(name)", "has no path")
    }
    try sampling.validate()
    for length in contextLengths { try requireCount(length, "context_lengths") }
    let isAscending = zip(contextLengths, contextLengths.dropFirst()).allSatisfy(<)
    try require(isAscending, "context_lengths", "must be ascending, not \(contextLengths)")
    try require(
      validation >= 0 && validation < 1, "validation", "must be at least 0 and below 1, not \(validation)")
  }

  /// The sampling of the answers.
  var sampling: SamplingConfig {
    var sampling = SamplingConfig()
    (sampling.temperature, sampling.seed) = (temperature, seed)
    return sampling
  }

  enum CodingKeys: String, CodingKey {
    case draftLength = "draft_length"
    case maxNewTokens = "max_new_tokens"
    case contextLengths = "context_lengths"
    case benchmarks, limit, temperature, seed, reasoning, validation
  }
}
