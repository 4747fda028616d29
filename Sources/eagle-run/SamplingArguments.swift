import ArgumentParser
import EagleChat
import EagleCore
import EagleDecoding
import EagleDraft
import EagleModels

/// How tokens are chosen. What no flag says is taken from the model's generation_config.json.
struct SamplingArguments: ParsableArguments {
  @Option(help: "Sampling temperature; 0 is greedy. The default is that of generation_config.json, or 0.")
  var temperature: Float?

  @Option(help: "Sample from the k most likely tokens; 0 is off. The default is that of generation_config.json, or 0.")
  var topK: Int?

  @Option(
    help: """
      Sample from the most likely tokens that together reach this probability; 1 is off. The default is that \
      of generation_config.json, or 1.
      """)
  var topP: Float?

  @Option(
    help: """
      Minimum probability of a token, relative to the most likely token; 0 is off. The default is that of \
      generation_config.json, or 0.
      """)
  var minP: Float?

  @Option(
    help: """
      Repetition penalty: make tokens that the text already contains less likely; 1 is off. The default is that \
      of generation_config.json, or 1.
      """)
  var repetitionPenalty: Float?

  @Option(help: "Random seed; the same seed and draft plan give the same text. Adaptive chains must be tuned for that.")
  var seed: UInt64 = 0

  func validate() throws {
    do { try given(over: SamplingOptions()).validate() } catch { throw ValidationError("\(error)") }
  }

  /// The flags over what the model recommends; says on standard error what that comes to, where the model recommends
  /// anything.
  func options(_ model: ChatModel) throws -> SamplingOptions {
    let options = given(over: model.generation.sampling(over: SamplingOptions()))
    try options.validate()
    model.generation.tell(options, overriddenBy: "flags")
    return options
  }

  private func given(over recommended: SamplingOptions) -> SamplingOptions {
    var options = recommended
    options.temperature = temperature ?? options.temperature
    options.topK = topK ?? options.topK
    options.topP = topP ?? options.topP
    options.minP = minP ?? options.minP
    options.repetitionPenalty = repetitionPenalty ?? options.repetitionPenalty
    options.seed = seed
    return options
  }
}

extension GenerationConfig {
  /// Says on standard error how tokens are chosen, where the model's file has a part in it.
  func tell(_ options: SamplingOptions, overriddenBy others: String) {
    if hasSampling { Output.note("sampling: \(options.summary) (from generation_config.json; \(others) override it)") }
  }
}

extension SamplingOptions {
  /// What is not off, in the names of the API.
  var summary: String {
    let filters: [(String, String?)] = [
      ("top_k", topK == 0 || isGreedy ? nil : "\(topK)"), ("top_p", topP == 1 || isGreedy ? nil : "\(topP)"),
      ("min_p", minP == 0 || isGreedy ? nil : "\(minP)"),
      ("repetition_penalty", repetitionPenalty == 1 ? nil : "\(repetitionPenalty)"),
    ]
    let parts = filters.compactMap { name, value in value.map { "\(name) \($0)" } }
    return ([isGreedy ? "greedy" : "temperature \(temperature)"] + parts).joined(separator: ", ")
  }
}
