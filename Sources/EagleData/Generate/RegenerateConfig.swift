import EagleCore
import EagleDecoding
import EagleTensor

/// Answers that the target gives to questions of others: what `regenerate` writes for `data.train` to name.
public struct RegenerateConfig: Config {
  /// Files of prompts or conversations; empty when nothing is to be answered.
  public var input: [String] = []
  /// JSON Lines file for the conversations with the target's answers.
  public var output = ""
  /// Tokens of an answer, at most. One that is broken off there is marked as cut.
  public var maxNewTokens = 256
  /// 0 takes the most likely token.
  public var temperature = 0.0
  public var topK = 0
  public var topP = 1.0
  /// Conversations that a rank decodes together.
  public var batch = 64
  /// Of the draws; each conversation and turn has its own derived from it.
  public var seed: UInt64 = 0

  public init() {}

  public func validate() throws {
    try require(input.isEmpty || !output.isEmpty, "output", "is missing: name the file for the answers")
    try require(!input.contains(""), "input", "holds an empty path")
    try require(!input.contains(output), "output", "is one of the input files")
    try requireCount(maxNewTokens, "max_new_tokens")
    try requireCount(batch, "batch")
    try require(
      temperature == 0 || (temperature >= 0.01 && temperature.isFinite), "temperature",
      "must be 0, or 0.01 and more, not \(temperature)")
    try requireCount(topK, "top_k", atLeast: 0)
    try require(topP > 0 && topP <= 1, "top_p", "must be above 0 and at most 1 (off), not \(topP)")
  }

  /// For a turn of a conversation.
  func sampling(_ purpose: String) -> SamplingOptions {
    SamplingOptions(temperature: temperature, topK: topK, topP: topP, seed: seed, purpose: purpose)
  }

  enum CodingKeys: String, CodingKey {
    case input, output, temperature, batch, seed
    case maxNewTokens = "max_new_tokens"
    case topK = "top_k"
    case topP = "top_p"
  }
}

extension SamplingOptions {
  /// - Parameter purpose: draws for different purposes are independent
  init(temperature: Double, topK: Int, topP: Double, seed: UInt64, purpose: String) {
    self.init()
    (self.temperature, self.topK, self.topP) = (Float(temperature), topK, Float(topP))
    var source = RandomSource(seed: seed, purpose: purpose)
    self.seed = source.next()
  }
}
