/// Raw counts of one or many generations; they add up, and everything else is derived from them.
public struct DecodingStatistics: Sendable, Equatable, Codable {
  /// Tokens of prompts, and those of them that a KV cache held already.
  public var promptTokens = 0
  public var cachedTokens = 0
  /// Tokens of the text, the one that the prompt's pass gives included.
  public var newTokens = 0
  /// Tokens that passes after the prompt gave.
  public var decodedTokens = 0
  /// Target passes after the prompt, and the tokens in them.
  public var targetPasses = 0
  public var targetRows = 0
  /// Rounds of a text that has a draft, its passes, and the tokens that it proposed.
  public var rounds = 0
  public var draftPasses = 0
  public var draftedTokens = 0
  /// Rounds that proposed a token at each position, and rounds whose token there was kept.
  public var proposed: [Int] = []
  public var accepted: [Int] = []
  /// Seconds of the prompt's pass, of everything after it, and of that in the draft, in the target and in the choice of
  /// tokens.
  public var promptSeconds = 0.0
  public var decodeSeconds = 0.0
  public var draftSeconds = 0.0
  public var targetSeconds = 0.0
  public var choiceSeconds = 0.0

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

  /// Tokens per target pass after the prompt; 1 is no gain. 1 when there was no such pass.
  public var acceptanceLength: Double { targetPasses == 0 ? 1 : Double(decodedTokens) / Double(targetPasses) }

  /// The fraction of rounds in which a proposal at each position was kept.
  public var acceptanceByPosition: [Double] { zip(accepted, proposed).map { $1 == 0 ? 0 : Double($0) / Double($1) } }

  /// The fraction of proposals at each position that were kept, among rounds that kept all before it: of a chain.
  package var conditionalAcceptance: [Double] {
    accepted.indices.map { position in
      let before = position == 0 ? .max : accepted[position - 1]
      let rounds = min(before, position < proposed.count ? proposed[position] : 0)
      return rounds <= 0 ? 0 : Double(accepted[position]) / Double(rounds)
    }
  }

  /// New tokens per second after the prompt's pass.
  public var tokensPerSecond: Double { decodeSeconds == 0 ? 0 : Double(decodedTokens) / decodeSeconds }

  /// Prompt tokens per second.
  public var promptTokensPerSecond: Double {
    promptSeconds == 0 ? 0 : Double(promptTokens - cachedTokens) / promptSeconds
  }

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
