/// The rules by which the next token is chosen from the target's distribution. They apply in the order of the
/// properties.
public struct SamplingOptions: Sendable, Equatable, Codable {
  /// The bias that is added to the logits of some tokens, by id.
  public var logitBias: [Int32: Float] = [:]
  /// The divisor of positive logits and factor of the others, for tokens that the sequence already holds.
  public var repetitionPenalty: Float = 1
  /// The amount by which each occurrence among the tokens generated so far lowers a token's logit; the prompt does not
  /// count.
  public var frequencyPenalty: Float = 0
  /// The amount by which a token's logit is lowered, once, if it is among the tokens generated so far.
  public var presencePenalty: Float = 0
  /// The divisor of the logits; 0 takes the most likely token.
  public var temperature: Float = 0
  /// The number of most likely tokens that are kept; 0 keeps all.
  public var topK = 0
  /// The probability that the most likely tokens that are kept reach together; 1 keeps all.
  public var topP: Float = 1
  /// The least probability of a kept token, as a fraction of that of the most likely one; 0 keeps all.
  public var minP: Float = 0
  /// The seed of the random numbers: the same one yields the same tokens.
  public var seed: UInt64 = 0
  /// The number of most likely tokens that are reported with each generated token (`TokenLogprobs`); nil reports
  /// nothing.
  public var logprobs: Int?

  /// The options of greedy decoding, which takes the most likely token.
  public static let greedy = SamplingOptions()

  /// Creates the options of greedy decoding.
  public init() {}

  /// Whether the most likely token is taken: the temperature is 0.
  public var isGreedy: Bool { temperature == 0 }

  var penalizesGenerated: Bool { frequencyPenalty != 0 || presencePenalty != 0 }

  /// Checks all values.
  ///
  /// - Throws: `GenerationError` for a value without a meaning
  public func validate() throws {
    func require(_ condition: Bool, _ message: String) throws {
      guard condition else { throw GenerationError(message) }
    }
    if let complaint = SamplingRange.complaint(temperature: temperature) {
      throw GenerationError("the temperature \(complaint)")
    }
    try require(topK >= 0, "top-k must be 0 (off) or more, not \(topK)")
    if let complaint = SamplingRange.complaint(topP: topP) { throw GenerationError("top-p \(complaint)") }
    try require(minP >= 0 && minP < 1, "min-p must be from 0 (off) to below 1, not \(minP)")
    try require(
      repetitionPenalty > 0 && repetitionPenalty.isFinite,
      "the repetition penalty must be above 0, 1 being off, not \(repetitionPenalty)")
    for (name, penalty) in [("frequency", frequencyPenalty), ("presence", presencePenalty)] {
      try require(penalty.isFinite, "the \(name) penalty must be finite, 0 being off, not \(penalty)")
    }
    try require(logprobs ?? 0 >= 0, "the number of logprobs must be 0 or more, not \(logprobs ?? 0)")
    try require(logitBias.values.allSatisfy(\.isFinite), "a logit bias must be finite")
  }
}
