import Foundation

/// The result of one benchmark.
public struct BenchmarkResult: Codable, Sendable, Equatable {
  public var accLength: Double
  public var draftLength: Int
  /// The draft plan in words.
  public var plan: String?
  public var acceptanceByPosition: [Double]
  public var tokensPerSecond: Double
  public var plainTokensPerSecond: Double
  public var speedup: Double
  public var prompts: Int
  public var newTokens: Int
  /// Texts that differ from plain greedy decoding; anything but 0 is a defect of the program.
  public var differing: Int
  /// The counts with the head and without it, from which all else follows.
  public var counts: Counts?
  /// Speed with the head as a multiple of that without it, for each prompt in order, one that ended
  /// with its first token left out; files of older versions have none.
  public var speedups: [Double]?

  /// Raw counts of both ways to decode.
  public struct Counts: Codable, Sendable, Equatable {
    public var speculative: DecodingStatistics
    public var plain: DecodingStatistics

    package init(speculative: DecodingStatistics, plain: DecodingStatistics) {
      self.speculative = speculative
      self.plain = plain
    }
  }

  enum CodingKeys: String, CodingKey {
    case speedup, speedups, prompts, differing, plan, counts
    case accLength = "acc_length"
    case draftLength = "draft_length"
    case acceptanceByPosition = "acceptance_by_position"
    case tokensPerSecond = "tokens_per_second"
    case plainTokensPerSecond = "plain_tokens_per_second"
    case newTokens = "new_tokens"
  }

  /// The result that follows from the counts of one benchmark.
  ///
  /// - Parameters:
  ///   - draftLength: levels of the draft tree
  ///   - plan: the draft plan in words
  package init(_ counts: BenchmarkCounts, draftLength: Int, plan: String) {
    let (speculative, plain) = (counts.speculative, counts.plain)
    accLength = speculative.acceptanceLength
    self.draftLength = draftLength
    self.plan = plan
    self.counts = Counts(speculative: speculative, plain: plain)
    acceptanceByPosition = speculative.acceptanceByPosition
    tokensPerSecond = speculative.tokensPerSecond
    plainTokensPerSecond = plain.tokensPerSecond
    speedup = plain.tokensPerSecond == 0 ? 0 : speculative.tokensPerSecond / plain.tokensPerSecond
    prompts = counts.prompts
    newTokens = speculative.newTokens
    differing = counts.differing
    speedups = counts.speedups
  }

  /// The median and the least over prompts of the speed with the head as a multiple of that without it.
  public var speedupOfPrompts: (median: Double, least: Double)? {
    guard let speedups = speedups?.sorted(), !speedups.isEmpty else { return nil }
    let middle = speedups.count / 2
    let median = speedups.count.isMultiple(of: 2) ? (speedups[middle - 1] + speedups[middle]) / 2 : speedups[middle]
    return (median, speedups[0])
  }
}
