import EagleCore
import EagleDecoding
import EagleDraft

/// The settings of `regenerate`, in which the target answers given prompts; `data.train` can name the result.
public struct RegenerateConfig: Config {
  /// The files of prompts or conversations; empty if there is nothing to answer.
  public var input: [String] = []
  /// The JSON Lines file for the conversations with the target's answers.
  public var output = ""
  /// The maximum number of tokens of an answer. A longer one is cut there and marked.
  public var maxNewTokens = 256
  /// The sampling of answers. Each conversation and turn derives a seed of its own.
  public var sampling = SamplingConfig()
  /// The batch size of a rank, in conversations.
  public var batch = 64
  /// The server that generates instead of the local target, if one is set.
  public var server = AnswerServerConfig()

  /// Creates the settings with all defaults.
  public init() {}

  /// Checks the ranges of all settings, and that input comes with an output.
  public func validate() throws {
    try require(input.isEmpty || !output.isEmpty, "output", "is missing: name the file for the answers")
    try require(!input.contains(""), "input", "holds an empty path")
    try require(!input.contains(output), "output", "is one of the input files")
    try requireCount(maxNewTokens, "max_new_tokens")
    try requireCount(batch, "batch")
    try sampling.validate()
    try server.validate()
  }
}

extension RegenerateConfig {
  private enum CodingKeys: String, CodingKey {
    case input, output, batch
    case maxNewTokens = "max_new_tokens"
  }

  public init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: CodingKeys.self)
    input = try fields.decode([String].self, forKey: .input)
    output = try fields.decode(String.self, forKey: .output)
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
    let config: RegenerateConfig

    func encode(to encoder: any Encoder) throws { try config.encodeTexts(to: encoder) }
  }

  private func encodeTexts(to encoder: any Encoder) throws {
    var fields = encoder.container(keyedBy: CodingKeys.self)
    try fields.encode(input, forKey: .input)
    try fields.encode(output, forKey: .output)
    try fields.encode(maxNewTokens, forKey: .maxNewTokens)
    try sampling.encode(to: encoder)
    try fields.encode(batch, forKey: .batch)
  }
}
