import EagleCore
import EagleTensor

/// The sampling settings of recipes. Other settings hold them and write their keys among their own.
public struct SamplingConfig: Config {
  /// The divisor of the logits; 0 takes the most likely token.
  public var temperature = 0.0
  /// The number of most likely tokens that are kept; 0 keeps all.
  public var topK = 0
  /// The probability that the most likely tokens that are kept reach together; 1 keeps all.
  public var topP = 1.0
  /// The seed of all samples: the same seed yields the same results.
  public var seed: UInt64 = 0

  /// Creates the settings with all defaults.
  public init() {}

  /// Checks the ranges of temperature, top-k and top-p.
  public func validate() throws {
    try require("temperature", SamplingRange.complaint(temperature: temperature))
    try requireCount(topK, "top_k", atLeast: 0)
    try require("top_p", SamplingRange.complaint(topP: topP))
  }

  /// The sampling options of one generation.
  ///
  /// - Parameter purpose: the name of the generation; samples for different purposes are independent
  public func options(for purpose: String) -> SamplingOptions {
    var (options, random) = (SamplingOptions(), RandomSource(seed: seed, purpose: purpose))
    (options.temperature, options.topK, options.topP) = (Float(temperature), topK, Float(topP))
    options.seed = random.next()
    return options
  }

  enum CodingKeys: String, CodingKey {
    case temperature, seed
    case topK = "top_k"
    case topP = "top_p"
  }
}

/// The ranges of sampling settings, for recipes and requests alike.
public enum SamplingRange {
  static func complaint(temperature: some BinaryFloatingPoint) -> String? {
    temperature == 0 || (temperature >= 0.01 && temperature.isFinite)
      ? nil : "must be 0, or 0.01 and more, not \(temperature)"
  }

  /// The objection to a top-p, as a phrase; nil when it is above 0 and at most 1.
  public static func complaint(topP: some BinaryFloatingPoint) -> String? {
    topP > 0 && topP <= 1 ? nil : "must be above 0 and at most 1 (off), not \(topP)"
  }
}
