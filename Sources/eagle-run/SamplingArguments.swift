import ArgumentParser
import EagleChat
import EagleCore
import EagleDecoding
import EagleDraft
import EagleModels

/// The options of sampling. Values without a flag are taken from the model's generation_config.json.
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

  /// The recommended settings of the model, replaced by the flags. If the model recommends any, the result is printed
  /// to standard error.
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
  /// Prints the sampling to standard error, if the model's file recommends any.
  func tell(_ options: SamplingOptions, overriddenBy others: String) {
    if hasSampling { Output.note("sampling: \(options.summary) (from generation_config.json; \(others) override it)") }
  }
}

extension SamplingOptions {
  /// The enabled settings, with the names of the API.
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
