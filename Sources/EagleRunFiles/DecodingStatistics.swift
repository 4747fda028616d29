/// Raw counts of one or many generations; they add up, and everything else is derived from them.
public struct DecodingStatistics: Sendable, Equatable, Codable {
  /// The number of prompt tokens.
  public var promptTokens = 0
  /// The number of prompt tokens that a KV cache held already.
  public var cachedTokens = 0
  /// The number of new tokens, with the one that the prefill yields.
  public var newTokens = 0
  /// The number of tokens that target passes after the prefill yielded.
  public var decodedTokens = 0
  /// The number of target passes after the prefill.
  public var targetPasses = 0
  /// The number of tokens in the target passes after the prefill, drafted ones included.
  public var targetRows = 0
  /// The number of rounds of a session with a head, those without a draft included.
  public var rounds = 0
  /// The number of draft passes.
  public var draftPasses = 0
  /// The number of tokens that the draft proposed.
  public var draftedTokens = 0
  /// The number of rounds that proposed a token at each position of the draft.
  public var proposed: [Int] = []
  /// The number of rounds whose token at each position of the draft was accepted.
  public var accepted: [Int] = []
  /// The seconds of the prefill.
  public var promptSeconds = 0.0
  /// The seconds after the prefill.
  public var decodeSeconds = 0.0
  /// The seconds after the prefill that draft passes took.
  public var draftSeconds = 0.0
  /// The seconds after the prefill that target passes took.
  public var targetSeconds = 0.0
  /// The seconds after the prefill that the choice of tokens took.
  public var choiceSeconds = 0.0

  /// Creates counts of no generation, all 0.
  public init() {}

  enum CodingKeys: String, CodingKey {
    case rounds, proposed, accepted
    case promptTokens = "prompt_tokens"
    case cachedTokens = "cached_tokens"
    case newTokens = "new_tokens"
    case decodedTokens = "decoded_tokens"
    case targetPasses = "target_passes"
    case targetRows = "target_rows"
    case draftPasses = "draft_passes"
    case draftedTokens = "drafted_tokens"
    case promptSeconds = "prompt_seconds"
    case decodeSeconds = "decode_seconds"
    case draftSeconds = "draft_seconds"
    case targetSeconds = "target_seconds"
    case choiceSeconds = "choice_seconds"
  }

  /// The acceptance length: tokens per target pass after the prefill; 1 is no gain. 1 when there was no such pass.
  public var acceptanceLength: Double { targetPasses == 0 ? 1 : Double(decodedTokens) / Double(targetPasses) }

  /// The fraction of the rounds that drafted this far in which a token was accepted there, by position.
  public var acceptanceByPosition: [Double] { zip(accepted, proposed).map { $1 == 0 ? 0 : Double($0) / Double($1) } }

  /// The fraction of proposals at each position that were kept, among rounds that kept all before it: of a chain.
  package var conditionalAcceptance: [Double] {
    accepted.indices.map { position in
      let before = position == 0 ? .max : accepted[position - 1]
      let rounds = min(before, position < proposed.count ? proposed[position] : 0)
      return rounds <= 0 ? 0 : Double(accepted[position]) / Double(rounds)
    }
  }

  /// The speed after the prefill, in tokens per second.
  public var tokensPerSecond: Double { decodeSeconds == 0 ? 0 : Double(decodedTokens) / decodeSeconds }

  /// The speed of the prefill, in computed prompt tokens per second.
  public var promptTokensPerSecond: Double {
    promptSeconds == 0 ? 0 : Double(promptTokens - cachedTokens) / promptSeconds
  }

  /// Adds the counts and the seconds of `other`.
  public static func += (sum: inout DecodingStatistics, other: DecodingStatistics) {
    for count in counts { sum[keyPath: count] += other[keyPath: count] }
    for time in times { sum[keyPath: time] += other[keyPath: time] }
    sum.proposed = added(sum.proposed, other.proposed)
    sum.accepted = added(sum.accepted, other.accepted)
  }

  private static var counts: [WritableKeyPath<DecodingStatistics, Int>] {
    [
      \.promptTokens, \.cachedTokens, \.newTokens, \.decodedTokens, \.targetPasses, \.targetRows, \.rounds,
      \.draftPasses, \.draftedTokens,
    ]
  }

  private static var times: [WritableKeyPath<DecodingStatistics, Double>] {
    [\.promptSeconds, \.decodeSeconds, \.draftSeconds, \.targetSeconds, \.choiceSeconds]
  }

  /// The elementwise sum; the shorter one counts as 0 where it ends.
  package static func added(_ a: [Int], _ b: [Int]) -> [Int] {
    (0..<max(a.count, b.count)).map { ($0 < a.count ? a[$0] : 0) + ($0 < b.count ? b[$0] : 0) }
  }
}
