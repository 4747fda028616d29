import EagleCore
import EagleDecoding
import EagleDraft

/// The settings of `synthesize`, in which the target generates synthetic conversations; `data.train` can name the
/// result.
public struct SynthesizeConfig: Config {
  /// The number of conversations to generate; 0 for none.
  public var conversations = 0
  /// The JSON Lines file for the conversations.
  public var output = ""
  /// The beginnings of conversations, used round-robin; the target generates the rest. With an empty one, it generates
  /// everything.
  public var openings = [""]
  /// The maximum number of user turns of a conversation; the number of each conversation is sampled.
  public var turns = 1
  /// The maximum number of tokens of a question; a longer one is dropped.
  public var questionTokens = 128
  /// The temperature at which questions are sampled.
  public var questionTemperature = 1.0
  /// The top-p at which questions are sampled.
  public var questionTopP = 1.0
  /// The maximum number of tokens of an answer. A longer one is cut there and marked.
  public var maxNewTokens = 256
  /// The sampling of answers, and the seed of everything that is sampled: the same seed gives the same conversations.
  public var sampling = SamplingConfig()
  /// The batch size of a rank, in conversations.
  public var batch = 64
  /// The server that generates instead of the local target, if one is set.
  public var server = AnswerServerConfig()

  /// Creates the settings with all defaults.
  public init() {}

  /// Checks the ranges of all settings, and that conversations come with an output.
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
    try require("question_top_p", SamplingRange.complaint(topP: questionTopP))
    try sampling.validate()
    try server.validate()
  }

  /// The sampling of questions.
  var questionSampling: SamplingConfig {
    var config = SamplingConfig()
    (config.temperature, config.topP, config.seed) = (questionTemperature, questionTopP, sampling.seed)
    return config
  }
}

extension SynthesizeConfig {
  private enum CodingKeys: String, CodingKey {
    case conversations, output, openings, turns, batch
    case questionTokens = "question_tokens"
    case questionTemperature = "question_temperature"
    case questionTopP = "question_top_p"
    case maxNewTokens = "max_new_tokens"
  }

  public init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: CodingKeys.self)
    conversations = try fields.decode(Int.self, forKey: .conversations)
    output = try fields.decode(String.self, forKey: .output)
    openings = try fields.decode([String].self, forKey: .openings)
    turns = try fields.decode(Int.self, forKey: .turns)
    questionTokens = try fields.decode(Int.self, forKey: .questionTokens)
    questionTemperature = try fields.decode(Double.self, forKey: .questionTemperature)
    questionTopP = try fields.decode(Double.self, forKey: .questionTopP)
    maxNewTokens = try fields.decode(Int.self, forKey: .maxNewTokens)
    sampling = try SamplingConfig(from: decoder)
    batch = try fields.decode(Int.self, forKey: .batch)
    server = try AnswerServerConfig(from: decoder)
  }

  public func encode(to encoder: any Encoder) throws {
    try encodeTexts(to: encoder)
    try server.encode(to: encoder)
  }

  /// The settings that determine the text, for fingerprints: all but those of the server.
  var texts: some Encodable { Texts(config: self) }

  private struct Texts: Encodable {
    let config: SynthesizeConfig

    func encode(to encoder: any Encoder) throws { try config.encodeTexts(to: encoder) }
  }

  private func encodeTexts(to encoder: any Encoder) throws {
    var fields = encoder.container(keyedBy: CodingKeys.self)
    try fields.encode(conversations, forKey: .conversations)
    try fields.encode(output, forKey: .output)
    try fields.encode(openings, forKey: .openings)
    try fields.encode(turns, forKey: .turns)
    try fields.encode(questionTokens, forKey: .questionTokens)
    try fields.encode(questionTemperature, forKey: .questionTemperature)
    try fields.encode(questionTopP, forKey: .questionTopP)
    try fields.encode(maxNewTokens, forKey: .maxNewTokens)
    try sampling.encode(to: encoder)
    try fields.encode(batch, forKey: .batch)
  }
}
