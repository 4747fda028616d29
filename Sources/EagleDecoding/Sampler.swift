import CEagleKernels
import EagleTensor
import Foundation

// V vocabulary.

/// Turns logits into probabilities and draws from them, for one sequence.
///
/// The random numbers of a position depend on the seed and the position alone. So plain decoding and decoding with a
/// tree, which both draw from the target's distribution, give the same text for the same seed.
package struct Sampler {
  package let options: SamplingOptions
  /// Distinct tokens of the sequence, kept for the repetition penalty.
  private var seen: Set<Int32> = []
  /// How often each token was generated, kept for the presence and frequency penalties.
  private var generated: [Int32: Int] = [:]

  package init(_ options: SamplingOptions, prompt: [Int32]) {
    self.options = options
    if options.repetitionPenalty != 1 { seen = Set(prompt) }
  }

  package var isGreedy: Bool { options.isGreedy }

  /// Says that the sequence has grown by `token`.
  package mutating func append(_ token: Int32) {
    if options.repetitionPenalty != 1 { seen.insert(token) }
    if options.penalizesGenerated { generated[token, default: 0] += 1 }
  }

  /// The token for a position from the target's logits [V], which are overwritten.
  ///
  /// - Parameter path: proposed tokens between the sequence and this position
  /// - Throws: `GenerationError` for logits that are not finite
  package func choose(
    _ logits: UnsafeMutableBufferPointer<Float>, position: Int, path: ArraySlice<Int32> = []
  ) throws -> Int32 {
    try Self.checkFinite(logits, of: "target")
    penalize(logits, path) { Int($0) }
    if isGreedy { return Int32(eagle_argmax(logits.baseAddress!, Int64(logits.count))) }
    shape(logits)
    return Int32(Self.draw(logits, random(.token, position)))
  }

  /// Overwrites the target's logits by the distribution that a token is drawn from.
  ///
  /// - Throws: `GenerationError` for logits that are not finite
  package func makeDistribution(_ logits: UnsafeMutableBufferPointer<Float>, path: ArraySlice<Int32>) throws {
    try Self.checkFinite(logits, of: "target")
    penalize(logits, path) { Int($0) }
    shape(logits)
  }

  /// The same for a draft's logits, which are those of some tokens only.
  ///
  /// - Parameter draftIDs: place of each token, -1 for none
  func makeDistribution(
    _ logits: UnsafeMutableBufferPointer<Float>, path: ArraySlice<Int32>, draftIDs: [Int32]
  ) {
    penalize(logits, path) { Int(draftIDs[Int($0)]) }
    shape(logits)
  }

  /// Lowers a draft's logits as the target's will be, without turning them into probabilities.
  func penalizeDraft(_ logits: UnsafeMutableBufferPointer<Float>, path: ArraySlice<Int32>, draftIDs: [Int32]) {
    penalize(logits, path) { Int(draftIDs[Int($0)]) }
  }

  /// The target's logits as they are, where logprobs are to be reported.
  func keep(_ logits: UnsafeMutableBufferPointer<Float>) -> RawLogits? {
    options.logprobs.map { RawLogits(logits, count: $0) }
  }

  /// Logits that are NaN would otherwise give token 0 for ever, which looks like a text.
  static func checkFinite(_ logits: UnsafeMutableBufferPointer<Float>, of model: String) throws {
    // The largest magnitude as an integer: infinities and NaNs are above all finite ones, and integers vectorise.
    var largest: UInt32 = 0
    for value in logits { largest = max(largest, value.bitPattern & 0x7fff_ffff) }
    guard largest < Float.infinity.bitPattern else {
      throw GenerationError(
        "the logits of the \(model) are not finite: its weights are broken, or a layer overflows; check its files, and "
          + "try --precision fp32")
    }
  }

  // MARK: randomness

  enum Purpose: UInt64 {
    case token = 1
    case proposal, acceptance, residual
  }

  /// Uniform in [0, 1), the same whenever it is asked for.
  func random(_ purpose: Purpose, _ position: Int) -> Double {
    var start = RandomSource(seed: options.seed &+ purpose.rawValue &* 0xd1b5_4a32_d192_ed03)
    var source = RandomSource(seed: start.next() ^ UInt64(position) &* 0x9e37_79b9_7f4a_7c15)
    return Double(source.next() >> 11) * 0x1p-53
  }

  /// Index of the token at which the sum of weights passes `u` of their total.
  static func draw(_ weights: UnsafeMutableBufferPointer<Float>, _ u: Double) -> Int {
    let goal = u * weights.reduce(0.0) { $0 + Double($1) }
    var (sum, last) = (0.0, 0)
    for (i, weight) in weights.enumerated() where weight > 0 {
      sum += Double(weight)
      last = i
      if sum > goal { break }
    }
    return last
  }

  // MARK: filters

  /// Bias, repetition penalty, frequency and presence penalties, in this order (that of vLLM).
  ///
  /// A path counts as text that was generated: the target's row behind a proposal is penalised as plain decoding would.
  ///
  /// - Parameter place: of a token among the logits, negative for none
  private func penalize(
    _ logits: UnsafeMutableBufferPointer<Float>, _ path: ArraySlice<Int32>, place: (Int32) -> Int
  ) {
    for (token, bias) in options.logitBias {
      let i = place(token)
      if i >= 0 { logits[i] += bias }
    }
    penalizeRepetition(logits, path, place)
    penalizeGenerated(logits, path, place)
  }

  private func penalizeRepetition(
    _ logits: UnsafeMutableBufferPointer<Float>, _ path: ArraySlice<Int32>, _ place: (Int32) -> Int
  ) {
    let penalty = options.repetitionPenalty
    guard penalty != 1 else { return }
    for token in seen.union(path) {
      let i = place(token)
      if i >= 0 { logits[i] = logits[i] > 0 ? logits[i] / penalty : logits[i] * penalty }
    }
  }

  // z_t -= c_t · frequency + [c_t > 0] · presence, c_t being how often t was generated
  private func penalizeGenerated(
    _ logits: UnsafeMutableBufferPointer<Float>, _ path: ArraySlice<Int32>, _ place: (Int32) -> Int
  ) {
    guard options.penalizesGenerated else { return }
    var counts = generated
    for token in path { counts[token, default: 0] += 1 }
    for (token, count) in counts {
      let i = place(token)
      if i >= 0 { logits[i] -= Float(count) * options.frequencyPenalty + options.presencePenalty }
    }
  }

  /// Temperature, top-k, softmax, top-p, min-p. What is left need not add up to 1; draws divide by the total.
  private func shape(_ logits: UnsafeMutableBufferPointer<Float>) {
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
    let kept = Largest.places(k, of: UnsafeBufferPointer(logits)).map { ($0, logits[$0]) }
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

  private func keepLikely(_ share: Float, of probabilities: UnsafeMutableBufferPointer<Float>) {
    let least = share * (probabilities.max() ?? 0)
    for i in probabilities.indices where probabilities[i] < least { probabilities[i] = 0 }
  }
}

/// The largest of many numbers.
enum Largest {
  private static let mostInserted = 256

  /// Places of the k largest values, the largest first; of equal values the first place.
  static func places(_ k: Int, of values: UnsafeBufferPointer<Float>) -> [Int] {
    // Insertion costs k for each new one of them: for many, all are sorted.
    if k > mostInserted { return Array(values.indices.sorted { (values[$0], $1) > (values[$1], $0) }.prefix(k)) }
    var best: [Int] = []  // sorted
    best.reserveCapacity(k + 1)
    guard k > 0 else { return best }
    var least = -Float.infinity
    for i in values.indices where best.count < k || values[i] > least {
      let at = best.partitioningIndex { values[$0] < values[i] }
      best.insert(i, at: at)
      if best.count > k { best.removeLast() }
      least = values[best.last!]
    }
    return best
  }
}

extension Array {
  /// The first index from which on `isAfter` holds, which once true stays true.
  fileprivate func partitioningIndex(where isAfter: (Element) -> Bool) -> Int {
    var (low, high) = (0, count)
    while low < high {
      let middle = (low + high) / 2
      if isAfter(self[middle]) { high = middle } else { low = middle + 1 }
    }
    return low
  }
}
