import CEagleKernels
import EagleTensor

// V vocabulary.

extension Sampler {
  /// Bias, repetition penalty, frequency and presence penalties, in this order (that of vLLM).
  ///
  /// A path counts as generated text: the target's logits after a proposal are penalised as in plain decoding.
  ///
  /// - Parameter index: the index of a token among the logits, negative for none
  func penalize(
    _ logits: UnsafeMutableBufferPointer<Float>, _ path: ArraySlice<Int32>, index: (Int32) -> Int
  ) {
    for (token, bias) in options.logitBias {
      let i = index(token)
      if i >= 0 { logits[i] += bias }
    }
    penalizeRepetition(logits, path, index: index)
    penalizeGenerated(logits, path, index: index)
  }

  private func penalizeRepetition(
    _ logits: UnsafeMutableBufferPointer<Float>, _ path: ArraySlice<Int32>, index: (Int32) -> Int
  ) {
    let penalty = options.repetitionPenalty
    guard penalty != 1 else { return }
    func penalize(_ token: Int32) {
      let i = index(token)
      if i >= 0 { logits[i] = logits[i] > 0 ? logits[i] / penalty : logits[i] * penalty }
    }
    // Each token once. `seen` may have tens of thousands, and this runs for each row.
    for token in seen { penalize(token) }
    for (i, token) in zip(path.indices, path) where !seen.contains(token) && !path[..<i].contains(token) {
      penalize(token)
    }
  }

  // z_t -= c_t · frequency + [c_t > 0] · presence, c_t being how often t was generated
  private func penalizeGenerated(
    _ logits: UnsafeMutableBufferPointer<Float>, _ path: ArraySlice<Int32>, index: (Int32) -> Int
  ) {
    guard options.penalizesGenerated else { return }
    var counts = generated
    for token in path { counts[token, default: 0] += 1 }
    for (token, count) in counts {
      let i = index(token)
      if i >= 0 { logits[i] -= Float(count) * options.frequencyPenalty + options.presencePenalty }
    }
  }

  /// Temperature, top-k, softmax, top-p, min-p. The result adds up to 1.
  func shape(_ logits: UnsafeMutableBufferPointer<Float>) {
    let n = Int64(logits.count)
    eagle_scale(logits.baseAddress!, 1 / options.temperature, n)
    if options.topK > 0, options.topK < logits.count { keepLargest(options.topK, of: logits) }
    _ = eagle_softmax_row(logits.baseAddress!, n)
    if options.topP < 1 { keepNucleus(options.topP, of: logits) }
    if options.minP > 0 { keepLikely(options.minP, of: logits) }
    let total = logits.reduce(0.0) { $0 + Double($1) }
    eagle_scale(logits.baseAddress!, Float(1 / total), n)
  }

  private func keepLargest(_ k: Int, of logits: UnsafeMutableBufferPointer<Float>) {
    let kept = TopK.indices(k, of: UnsafeBufferPointer(logits)).map { ($0, logits[$0]) }
    logits.update(repeating: -Float.infinity)
    for (i, value) in kept { logits[i] = value }
  }

  /// The most likely tokens until their sum reaches `p`. None below (1 − p) / V can be needed: all of those together
  /// have less than 1 − p, so only the others are sorted. The most likely token always stays: for a tiny p, 1 − p is 1
  /// as a float, and no token of a flat distribution is above 1 / V.
  private func keepNucleus(_ p: Float, of probabilities: UnsafeMutableBufferPointer<Float>) {
    let least = min((1 - p) / Float(probabilities.count), probabilities.max() ?? 0)
    let candidates = probabilities.indices.filter { probabilities[$0] >= least }
      .sorted { (probabilities[$0], -$0) > (probabilities[$1], -$1) }
    var (kept, sum): ([(Int, Float)], Double) = ([], 0)
    for i in candidates {
      kept.append((i, probabilities[i]))
      sum += Double(probabilities[i])
      if sum >= Double(p) { break }
    }
    probabilities.update(repeating: 0)
    for (i, value) in kept { probabilities[i] = value }
  }

  private func keepLikely(_ fraction: Float, of probabilities: UnsafeMutableBufferPointer<Float>) {
    let least = fraction * (probabilities.max() ?? 0)
    for i in probabilities.indices where probabilities[i] < least { probabilities[i] = 0 }
  }
}
