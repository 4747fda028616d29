import EagleCore
import EagleDecoding

/// Conversations that the target makes up: what `synthesize` writes for `data.train` to name.
public struct SynthesizeConfig: Config {
  /// How many to make; 0 for none.
  public var conversations = 0
  /// JSON Lines file for them.
  public var output = ""
  /// What conversations begin with, one after the other; the target writes the rest. An empty one leaves it all to the target.
  public var openings = [""]
  /// User turns of a conversation, at most; each conversation draws its own number.
  public var turns = 1
  /// Tokens of a question, at most; a longer one is dropped.
  public var questionTokens = 128
  /// How freely questions are drawn.
  public var questionTemperature = 1.0
  public var questionTopP = 1.0
  /// Tokens of an answer, at most. One that is broken off there is marked as cut.
  public var maxNewTokens = 256
  /// Of answers; 0 takes the most likely token.
  public var temperature = 0.0
  public var topK = 0
  public var topP = 1.0
  /// Conversations that a rank decodes together.
  public var batch = 64
  /// Of everything that is drawn: the same seed makes the same conversations.
  public var seed: UInt64 = 0

  public init() {}

  public func validate() throws {
    try requireCount(conversations, "conversations", atLeast: 0)
    try require(conversations == 0 || !output.isEmpty, "output", "is missing: name the file for the conversations")
    try require(!openings.isEmpty, "openings", "is empty: write [\"\"] to leave questions to the target")
    try requireCount(turns, "turns")
    try requireCount(questionTokens, "question_tokens")
    try requireCount(maxNewTokens, "max_new_tokens")
    try requireCount(batch, "batch")
    try require(
      questionTemperature >= 0.01 && questionTemperature.isFinite, "question_temperature",
      "must be 0.01 or more, not \(questionTemperature): without chance all questions are one")
    try require(
      questionTopP > 0 && questionTopP <= 1, "question_top_p",
      "must be above 0 and at most 1 (off), not \(questionTopP)")
    try require(
      temperature == 0 || (temperature >= 0.01 && temperature.isFinite), "temperature",
      "must be 0, or 0.01 and more, not \(temperature)")
    try requireCount(topK, "top_k", atLeast: 0)
    try require(topP > 0 && topP <= 1, "top_p", "must be above 0 and at most 1 (off), not \(topP)")
  }

  func questionSampling(_ purpose: String) -> SamplingOptions {
    SamplingOptions(temperature: questionTemperature, topK: 0, topP: questionTopP, seed: seed, purpose: purpose)
  }

  func answerSampling(_ purpose: String) -> SamplingOptions {
    SamplingOptions(temperature: temperature, topK: topK, topP: topP, seed: seed, purpose: purpose)
  }

  enum CodingKeys: String, CodingKey {
    case conversations, output, openings, turns, temperature, batch, seed
    case questionTokens = "question_tokens"
    case questionTemperature = "question_temperature"
    case questionTopP = "question_top_p"
    case maxNewTokens = "max_new_tokens"
    case topK = "top_k"
    case topP = "top_p"
  }
}
