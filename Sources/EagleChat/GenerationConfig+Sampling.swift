import EagleDecoding
import EagleDraft
import EagleModels

extension GenerationConfig {
  /// The sampling that the file recommends. `standard` supplies the settings that the file leaves out.
  ///
  /// `do_sample: false` selects greedy decoding. The temperature is 1 if the file samples or has a filter, but has no
  /// temperature. Temperatures below 0.01 select greedy decoding.
  package func sampling(over standard: SamplingOptions) -> SamplingOptions {
    var options = standard
    if isSampling == true || topK != nil || topP != nil || minP != nil { options.temperature = 1 }
    if let temperature { options.temperature = temperature < 0.01 ? 0 : Float(temperature) }
    if isSampling == false { options.temperature = 0 }
    options.topK = topK ?? options.topK
    options.topP = topP.map { Float($0) } ?? options.topP
    options.minP = minP.map { Float($0) } ?? options.minP
    options.repetitionPenalty = repetitionPenalty.map { Float($0) } ?? options.repetitionPenalty
    return options
  }
}
