import Foundation

/// The result of one benchmark: acceptance length, speeds with the head and without it, and their counts.
public struct BenchmarkResult: Codable, Sendable, Equatable {
  /// The acceptance length: tokens per target pass after the prompt, with the head.
  public var accLength: Double
  /// The 95 % interval of `accLength` over prompts; nil for fewer than two prompts and in files of older versions.
  public var accLengthInterval: Interval?
  /// The number of levels of the draft tree, which is the length of a chain.
  public var draftLength: Int
  /// The draft plan in words.
  public var plan: String?
  /// The fraction of the rounds that drafted this far in which a token was accepted there, by position.
  public var acceptanceByPosition: [Double]
  /// The speed with the head in tokens per second, without the prefill.
  public var tokensPerSecond: Double
  /// The speed without the head in tokens per second, without the prefill.
  public var plainTokensPerSecond: Double
  /// The speed with the head, divided by the speed without it.
  public var speedup: Double
  /// The 95 % interval of `speedup` over prompts; nil as for `accLengthInterval`.
  public var speedupInterval: Interval?
  /// The number of prompts.
  public var prompts: Int
  /// The number of new tokens of all sequences with the head.
  public var newTokens: Int
  /// The number of sequences that differ from plain greedy decoding; anything but 0 is a defect of the program. Sampled
  /// sequences are not compared.
  public var differing: Int
  /// The temperature of sampled sequences; nil for greedy ones.
  public var temperature: Double?
  /// The counts with the head and without it, from which all else follows.
  public var counts: Counts?
  /// The speed with the head divided by that without it, for each prompt in order. A prompt whose answer ended with its
  /// first token is left out; files of older versions have none.
  public var speedups: [Double]?
  /// The counts of each prompt; files of older versions have none.
  public var byPrompt: PromptCounts?
  /// The SHA-256 digest of the prompts; files of older versions have none.
  public var promptsDigest: String?
  /// The same benchmark after longer contexts, in the order of their lengths; nil where none was requested.
  public var contexts: [ContextResult]?

  /// The raw counts of decoding with the head and without it.
  public struct Counts: Codable, Sendable, Equatable {
    /// The counts with the head.
    public var speculative: DecodingStatistics
    /// The counts without the head.
    public var plain: DecodingStatistics

    package init(speculative: DecodingStatistics, plain: DecodingStatistics) {
      self.speculative = speculative
      self.plain = plain
    }
  }

  enum CodingKeys: String, CodingKey {
    case speedup, speedups, prompts, differing, plan, counts, temperature, contexts
    case accLength = "acc_length"
    case accLengthInterval = "acc_length_interval"
    case speedupInterval = "speedup_interval"
    case byPrompt = "by_prompt"
    case promptsDigest = "prompts_sha256"
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
    byPrompt = counts.byPrompt
  }

  /// Whether sequences were compared with those of plain decoding, and what came of it, in words.
  package var equality: String { temperature != nil ? "not compared" : differing == 0 ? "all" : "\(differing) DIFFER" }

  /// Adds the intervals over prompts, which follow from the counts of each.
  package mutating func addIntervals(using random: inout some RandomNumberGenerator) {
    accLengthInterval = byPrompt?.accLengthInterval(using: &random)
    speedupInterval = byPrompt?.speedupInterval(using: &random)
  }

  /// The median and the least over prompts of the speed with the head divided by that without it.
  public var speedupOfPrompts: (median: Double, least: Double)? {
    guard let speedups = speedups?.sorted(), !speedups.isEmpty else { return nil }
    let middle = speedups.count / 2
    let median = speedups.count.isMultiple(of: 2) ? (speedups[middle - 1] + speedups[middle]) / 2 : speedups[middle]
    return (median, speedups[0])
  }
}

/// The result of a benchmark whose prompts follow a context.
public struct ContextResult: Codable, Sendable, Equatable {
  /// The tokens to which prompts are extended.
  public var contextLength: Int
  /// The mean tokens of a prompt, as measured.
  public var promptTokens: Double
  /// The result with these prompts.
  public var result: BenchmarkResult

  package init(contextLength: Int, result: BenchmarkResult) {
    (self.contextLength, self.result) = (contextLength, result)
    let tokens = result.counts?.speculative.promptTokens ?? 0
    promptTokens = Double(tokens) / Double(max(1, result.prompts))
  }

  enum CodingKeys: String, CodingKey {
    case result
    case contextLength = "context_length"
    case promptTokens = "prompt_tokens"
  }
}
