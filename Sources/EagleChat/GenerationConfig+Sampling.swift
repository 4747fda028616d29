import EagleDecoding
import EagleDraft
import EagleModels

extension GenerationConfig {
  /// The sampling that the file recommends. `standard` fills in what it leaves out.
  ///
  /// `do_sample: false` takes the most likely token. A file that samples, or names a filter, and no temperature means
  /// 1. Temperatures below 0.01 take the most likely token.
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
