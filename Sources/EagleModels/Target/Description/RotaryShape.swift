import EagleTensor
import Foundation

/// The rotary embedding of a layer as its config describes it.
package struct RotaryShape: Sendable, Hashable, Codable {
  package var headDimension: Int
  /// The leading elements of a head that rotate, an even number.
  package var rotated: Int
  package var theta: Double
  package var scaling: RotaryScaling?
  /// Whether the elements of a pair are neighbours. Otherwise they are half of the rotated elements apart.
  package var isInterleaved = false
  /// Queries grow with their position p, in steps of `length`: 1 + beta · log(1 + ⌊p / length⌋).
  package var queryGrowth: QueryGrowth?

  package struct QueryGrowth: Sendable, Hashable, Codable {
    package var beta: Double
    package var length: Int

    package func factor(at position: Int32) -> Float {
      Float(1 + beta * log(1 + Double(Int(position) / length)))
    }
  }

  package init(headDimension: Int, rotated: Int? = nil, theta: Double, scaling: RotaryScaling? = nil) {
    self.headDimension = headDimension
    self.rotated = rotated ?? headDimension
    self.theta = theta
    self.scaling = scaling
  }

  /// The embedding of sequences of at most `context` tokens.
  package func rotary(context: Int) -> Rotary {
    let plain = Rotary.frequencies(rotated, theta: theta)
    let scaled = scaling?.apply(plain, theta: theta, context: context) ?? (frequencies: plain, factor: 1)
    return Rotary(
      headDimension: headDimension, frequencies: scaled.frequencies, factor: scaled.factor,
      isInterleaved: isInterleaved)
  }
}

/// A scaling of the rotary frequencies for sequences that are longer than those of the original training.
///
/// `dynamic` and `longRoPE` depend on the length of the sequence. Here it is the longest that a program may see, so
/// that the states of a token do not depend on how long its sequence becomes.
package enum RotaryScaling: Sendable, Hashable, Codable {
  /// Frequencies divided by a factor.
  case linear(factor: Double)
  /// NTK-aware scaling: a larger base beyond the original length.
  case dynamic(factor: Double, originalLength: Int)
  /// Low frequencies divided by a factor, high ones kept, those between blended (Llama 3.1).
  case llama3(factor: Double, low: Double, high: Double, originalLength: Int)
  /// The same by the number of rotations over the original length (arXiv 2309.00071).
  case yarn(YaRN)
  /// Frequencies divided by factors of their own (arXiv 2402.13753).
  case longRoPE(LongRoPE)

  package struct YaRN: Sendable, Hashable, Codable {
    package var factor: Double
    package var originalLength: Int
    /// Rotations over the original length above which a frequency stays, and below which it is divided.
    package var fast = 32.0
    package var slow = 1.0
    /// Whether the two limits are rounded outwards to whole pairs.
    package var isTruncated = true
    /// The factor of cosines and sines.
    package var attentionFactor: Double
  }

  package struct LongRoPE: Sendable, Hashable, Codable {
    package var short: [Double]
    package var long: [Double]
    package var originalLength: Int
    package var attentionFactor: Double

    package init(short: [Double], long: [Double], originalLength: Int, attentionFactor: Double) {
      (self.short, self.long) = (short, long)
      (self.originalLength, self.attentionFactor) = (originalLength, attentionFactor)
    }
  }

  /// Whether the frequencies depend on the longest sequence; up to this length they are those of short sequences.
  package var shortLength: Int? {
    switch self {
    case .dynamic(_, let length): length
    case .longRoPE(let longRoPE): longRoPE.originalLength
    default: nil
    }
  }

  /// - Parameter plain: the frequencies without a scaling, [P]
  package func apply(_ plain: [Float], theta: Double, context: Int) -> (frequencies: [Float], factor: Float) {
    switch self {
    case .linear(let factor): return (plain.map { $0 / Float(factor) }, 1)
    case .dynamic(let factor, let length): return (Self.dynamic(plain.count, theta, factor, length, context), 1)
    case .llama3(let factor, let low, let high, let length):
      let bounds = (low: Float(Double(length) / low), high: Float(Double(length) / high))
      return (
        plain.map { frequency in
          let wavelength = 2 * Float.pi / frequency
          if wavelength < bounds.high { return frequency }
          if wavelength > bounds.low { return frequency / Float(factor) }
          let smooth = (Float(length) / wavelength - Float(low)) / Float(high - low)
          return (1 - smooth) * frequency / Float(factor) + smooth * frequency
        }, 1
      )
    case .yarn(let yarn): return (yarn.apply(plain, theta: theta), Float(yarn.attentionFactor))
    case .longRoPE(let longRoPE):
      let factors = context > longRoPE.originalLength ? longRoPE.long : longRoPE.short
      return (longRoPE.apply(factors, theta: theta), Float(longRoPE.attentionFactor))
    }
  }

  /// θ' = θ · (factor · context / length − factor + 1)^(n / (n − 2)) for n rotated elements.
  private static func dynamic(_ pairs: Int, _ theta: Double, _ factor: Double, _ length: Int, _ context: Int) -> [Float]
  {
    let n = Double(2 * pairs)
    let growth = factor * Double(max(context, length)) / Double(length) - (factor - 1)
    return Rotary.frequencies(2 * pairs, theta: theta * pow(growth, n / max(1, n - 2)))
  }
}

extension RotaryScaling.YaRN {
  /// A frequency that makes `fast` rotations or more over the original length stays; one with `slow` or fewer is
  /// divided by the factor; between them the share of the divided one rises linearly over the pairs.
  fileprivate func apply(_ plain: [Float], theta: Double) -> [Float] {
    let n = Double(2 * plain.count)
    func pair(rotations: Double) -> Double {
      n * log(Double(originalLength) / (rotations * 2 * .pi)) / (2 * log(theta))
    }
    var (low, high) = (pair(rotations: fast), pair(rotations: slow))
    if isTruncated { (low, high) = (low.rounded(.down), high.rounded(.up)) }
    (low, high) = (max(low, 0), min(high, n - 1))
    if low == high { high += 0.001 }
    return plain.enumerated().map { index, frequency in
      let share = Float(min(1, max(0, (Double(index) - low) / (high - low))))
      return frequency / Float(factor) * share + frequency * (1 - share)
    }
  }
}

extension RotaryScaling.LongRoPE {
  fileprivate func apply(_ factors: [Double], theta: Double) -> [Float] {
    let n = Double(2 * factors.count)
    return factors.enumerated().map { index, factor in
      1 / (Float(factor) * Float(pow(theta, Double(2 * index) / n)))
    }
  }
}
