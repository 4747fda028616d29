/// The counts of each prompt of a benchmark, in the order of its file.
public struct PromptCounts: Codable, Sendable, Equatable {
  /// The number of tokens of each prompt that target passes after the prefill yielded, with the head.
  public var tokens: [Int] = []
  /// The number of target passes of each prompt after the prefill, with the head.
  public var passes: [Int] = []
  /// The seconds of each prompt after the prefill, with the head.
  public var seconds: [Double] = []
  /// The number of tokens of each prompt that target passes after the prefill yielded, without the head.
  public var plainTokens: [Int] = []
  /// The seconds of each prompt after the prefill, without the head.
  public var plainSeconds: [Double] = []

  /// Creates counts of no prompt.
  public init() {}

  enum CodingKeys: String, CodingKey {
    case tokens, passes, seconds
    case plainTokens = "plain_tokens"
    case plainSeconds = "plain_seconds"
  }

  public init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: CodingKeys.self)
    tokens = try fields.decode([Int].self, forKey: .tokens)
    passes = try fields.decode([Int].self, forKey: .passes)
    seconds = try fields.decode([Double].self, forKey: .seconds)
    plainTokens = try fields.decode([Int].self, forKey: .plainTokens)
    plainSeconds = try fields.decode([Double].self, forKey: .plainSeconds)
    let sizes = [passes.count, seconds.count, plainTokens.count, plainSeconds.count]
    guard sizes.allSatisfy({ $0 == tokens.count }) else {
      throw DecodingError.dataCorrupted(
        .init(codingPath: decoder.codingPath, debugDescription: "lists of different lengths"))
    }
  }

  /// The number of prompts.
  public var count: Int { tokens.count }

  /// Adds one prompt.
  package mutating func append(_ speculative: DecodingStatistics, plain: DecodingStatistics) {
    tokens.append(speculative.decodedTokens)
    passes.append(speculative.targetPasses)
    seconds.append(speculative.decodeSeconds)
    plainTokens.append(plain.decodedTokens)
    plainSeconds.append(plain.decodeSeconds)
  }

  package static func += (sum: inout PromptCounts, other: PromptCounts) {
    sum.tokens += other.tokens
    sum.passes += other.passes
    sum.seconds += other.seconds
    sum.plainTokens += other.plainTokens
    sum.plainSeconds += other.plainSeconds
  }
}

// Statistics of some prompts, by index; one may come several times. Sums are of doubles: counts of a file may be any.
extension PromptCounts {
  /// Σ tokens / Σ passes; 1 without a pass.
  package func accLength(of prompts: [Int]) -> Double {
    let passes = sum(passes, prompts)
    return passes == 0 ? 1 : sum(tokens, prompts) / passes
  }

  /// Tokens a second with the head, as a multiple of those without it; 0 where nothing was decoded.
  package func speedup(of prompts: [Int]) -> Double {
    let (own, plain) = (sum(seconds, prompts), sum(plainSeconds, prompts))
    let plainRate = plain == 0 ? 0 : sum(plainTokens, prompts) / plain
    return own == 0 || plainRate == 0 ? 0 : sum(tokens, prompts) / own / plainRate
  }

  private func sum(_ values: [Int], _ prompts: [Int]) -> Double { prompts.reduce(0) { $0 + Double(values[$1]) } }
  private func sum(_ values: [Double], _ prompts: [Int]) -> Double { prompts.reduce(0) { $0 + values[$1] } }
}

extension PromptCounts {
  /// The 95 % interval of acc_length over prompts.
  package func accLengthInterval(using random: inout some RandomNumberGenerator) -> Interval? {
    Bootstrap.interval(sizes: [count], using: &random) { accLength(of: $0[0]) }
  }

  /// The 95 % interval of the speedup over prompts.
  package func speedupInterval(using random: inout some RandomNumberGenerator) -> Interval? {
    Bootstrap.interval(sizes: [count], using: &random) { speedup(of: $0[0]) }
  }

  /// The 95 % interval of the mean acc_length of several benchmarks.
  package static func meanAccLengthInterval(
    _ benchmarks: [PromptCounts], using random: inout some RandomNumberGenerator
  ) -> Interval? {
    Bootstrap.interval(sizes: benchmarks.map(\.count), using: &random) { sample in
      zip(benchmarks, sample).reduce(0) { $0 + $1.0.accLength(of: $1.1) } / Double(benchmarks.count)
    }
  }
}
