/// Counts of one or many generations; they add up.
public struct DecodingStatistics: Sendable, Equatable, Codable {
  /// Tokens of the text, the one that the prompt's pass gives included.
  public var newTokens = 0
  /// Tokens that passes after the prompt gave.
  public var decodedTokens = 0
  /// Target passes after the prompt.
  public var targetPasses = 0
  /// Rounds that proposed a token at each position, and rounds whose token there was kept.
  public var proposed: [Int] = []
  public var accepted: [Int] = []
  public var promptSeconds = 0.0
  public var decodeSeconds = 0.0

  public init() {}

  /// Tokens per target pass after the prompt; 1 is no gain. 1 when there was no such pass.
  public var acceptanceLength: Double { targetPasses == 0 ? 1 : Double(decodedTokens) / Double(targetPasses) }

  /// Share of rounds in which the proposal at each position was kept.
  public var acceptanceByPosition: [Double] { zip(accepted, proposed).map { $1 == 0 ? 0 : Double($0) / Double($1) } }

  /// New tokens per second after the prompt's pass.
  public var tokensPerSecond: Double { decodeSeconds == 0 ? 0 : Double(decodedTokens) / decodeSeconds }

  public static func += (sum: inout DecodingStatistics, other: DecodingStatistics) {
    sum.newTokens += other.newTokens
    sum.decodedTokens += other.decodedTokens
    sum.targetPasses += other.targetPasses
    sum.proposed = added(sum.proposed, other.proposed)
    sum.accepted = added(sum.accepted, other.accepted)
    sum.promptSeconds += other.promptSeconds
    sum.decodeSeconds += other.decodeSeconds
  }

  mutating func countRound(proposed length: Int, accepted kept: Int) {
    proposed = Self.added(proposed, [Int](repeating: 1, count: length))
    accepted = Self.added(accepted, (0..<length).map { $0 < kept ? 1 : 0 })
  }

  private static func added(_ a: [Int], _ b: [Int]) -> [Int] {
    (0..<max(a.count, b.count)).map { ($0 < a.count ? a[$0] : 0) + ($0 < b.count ? b[$0] : 0) }
  }
}
