import EagleCore
import Foundation

/// A seeded generator (SplitMix64): the same seed gives the same numbers on every machine.
package struct RandomSource: RandomNumberGenerator, Sendable {
  private var state: UInt64

  package init(seed: UInt64) { state = seed }

  /// A generator for one purpose, for example one epoch's order or one tensor's start values.
  package init(seed: UInt64, purpose: String) {
    // The hash keeps streams of different purposes from overlapping in practice.
    state = seed &* 0x9e37_79b9_7f4a_7c15 ^ FNV1a.hash(purpose)
  }

  package mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
    return z ^ z >> 31
  }

  /// Uniform in [0, 1) with 24 random bits.
  package mutating func uniform() -> Float { Float(next() >> 40) * 0x1p-24 }

  /// Two standard normal numbers by Box and Muller's transform.
  package mutating func normalPair() -> (Float, Float) {
    let radius = (-2 * log(Double(next() >> 11) * 0x1p-53 + 0x1p-54)).squareRoot()
    let angle = 2 * Double.pi * Double(next() >> 11) * 0x1p-53
    return (Float(radius * cos(angle)), Float(radius * sin(angle)))
  }
}

extension Tensor {
  /// Normal numbers with mean 0 and standard deviation `deviation`.
  package static func normal(_ shape: [Int], deviation: Float, using random: inout RandomSource) -> Tensor {
    let tensor = Tensor(shape)
    let values = tensor.buffer(Float.self)
    for i in stride(from: 0, to: values.count, by: 2) {
      let (a, b) = random.normalPair()
      values[i] = a * deviation
      if i + 1 < values.count { values[i + 1] = b * deviation }
    }
    return tensor
  }
}
