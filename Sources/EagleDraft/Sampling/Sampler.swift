import CEagleKernels
import EagleTensor
import Foundation

// V vocabulary.

/// The choice of tokens from logits, for one sequence.
///
/// The random numbers of a position depend on the seed and the position alone. So plain decoding and decoding with a
/// tree, which both sample from the target's distribution, yield the same tokens for the same seed.
package struct Sampler {
  package let options: SamplingOptions
  /// The distinct tokens of the sequence, kept for the repetition penalty.
  private(set) var seen: Set<Int32> = []
  /// The number of times that each token was generated, kept for the presence and frequency penalties.
  private(set) var generated: [Int32: Int] = [:]

  package init(_ options: SamplingOptions, prompt: [Int32]) {
    self.options = options
    if options.repetitionPenalty != 1 { seen = Set(prompt) }
  }

  package var isGreedy: Bool { options.isGreedy }

  /// Notes that the sequence has grown by `token`.
  package mutating func append(_ token: Int32) {
    if options.repetitionPenalty != 1 { seen.insert(token) }
    if options.penalizesGenerated { generated[token, default: 0] += 1 }
  }

  /// Chooses the token of a position by the target's logits [V], which are overwritten.
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
    return Int32(Self.sample(logits, random(.token, position)))
  }

  /// Overwrites the target's logits by the distribution from which a token is sampled.
  ///
  /// - Throws: `GenerationError` for logits that are not finite
  package func makeDistribution(_ logits: UnsafeMutableBufferPointer<Float>, path: ArraySlice<Int32>) throws {
    try Self.checkFinite(logits, of: "target")
    penalize(logits, path) { Int($0) }
    shape(logits)
  }

  /// The same for a draft's logits, which are those of some tokens only.
  ///
  /// - Parameter draftIDs: the index of each token of the target among the logits, -1 for none
  func makeDistribution(
    _ logits: UnsafeMutableBufferPointer<Float>, path: ArraySlice<Int32>, draftIDs: [Int32]
  ) {
    penalize(logits, path) { Int(draftIDs[Int($0)]) }
    shape(logits)
  }

  /// Applies the target's penalties to a draft's logits, without turning them into probabilities.
  func penalizeDraft(_ logits: UnsafeMutableBufferPointer<Float>, path: ArraySlice<Int32>, draftIDs: [Int32]) {
    penalize(logits, path) { Int(draftIDs[Int($0)]) }
  }

  /// The target's logits as they are, where logprobs are to be reported.
  package func keep(_ logits: UnsafeMutableBufferPointer<Float>) -> RawLogits? {
    options.logprobs.map { RawLogits(logits, count: $0) }
  }

  /// Checks logits. NaN would otherwise yield token 0 without end, which looks like generated text.
  ///
  /// - Throws: `GenerationError` for logits that are not finite
  package static func checkFinite(_ logits: UnsafeMutableBufferPointer<Float>, of model: String) throws {
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

  package enum Purpose: UInt64 {
    case token = 1
    case proposal, acceptance, residual
  }

  /// A uniform number in [0, 1), the same at each call.
  package func random(_ purpose: Purpose, _ position: Int) -> Double {
    var start = RandomSource(seed: options.seed &+ purpose.rawValue &* 0xd1b5_4a32_d192_ed03)
    var source = RandomSource(seed: start.next() ^ UInt64(position) &* 0x9e37_79b9_7f4a_7c15)
    return Double(source.next() >> 11) * 0x1p-53
  }

  /// The index at which the sum of the weights passes `u` of their total.
  package static func sample(_ weights: UnsafeMutableBufferPointer<Float>, _ u: Double) -> Int {
    let goal = u * weights.reduce(0.0) { $0 + Double($1) }
    var (sum, last) = (0.0, 0)
    for (i, weight) in weights.enumerated() where weight > 0 {
      sum += Double(weight)
      last = i
      if sum > goal { break }
    }
    return last
  }
}
