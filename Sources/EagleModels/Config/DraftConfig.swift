import EagleCore

/// The settings of an EAGLE-3 draft head. Sizes that are not here are those of the target.
public struct DraftConfig: Config {
  /// D, how many of the target's tokens the head can propose: the most frequent ones of the training answers.
  public var vocabularySize = 32000
  /// The width of its MLP; nil takes the target's.
  public var intermediateSize: Int?
  /// The base of the rotary embedding. Some readers of exported heads have 10000 built in.
  public var ropeTheta = 10000.0
  /// The weights before training.
  public var start = DraftStart.random
  /// The folder of an exported EAGLE-3 head to start from; nil starts from random weights.
  public var initFrom: String?

  public init() {}

  public func validate() throws {
    try requireCount(vocabularySize, "vocabulary_size")
    if let intermediateSize { try requireCount(intermediateSize, "intermediate_size") }
    try require(ropeTheta > 0 && ropeTheta.isFinite, "rope_theta", "must be above 0, not \(ropeTheta)")
    try require(initFrom != "", "init_from", "is empty: name a folder, or write null")
    try require(
      initFrom == nil || start == .random, "start",
      "is fitted, and init_from names a head to start from: leave one of them out")
  }

  enum CodingKeys: String, CodingKey {
    case vocabularySize = "vocabulary_size"
    case intermediateSize = "intermediate_size"
    case ropeTheta = "rope_theta"
    case start
    case initFrom = "init_from"
  }

  /// Encodes what is absent as an explicit null, so that a dump shows every key.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(vocabularySize, forKey: .vocabularySize)
    try container.encode(intermediateSize, forKey: .intermediateSize)
    try container.encode(ropeTheta, forKey: .ropeTheta)
    try container.encode(start, forKey: .start)
    try container.encode(initFrom, forKey: .initFrom)
  }
}

/// The initial weights of a new head.
public enum DraftStart: String, Codable, CaseIterable, Sendable {
  /// Matrices N(0, 0.02), norms 1.
  case random
  /// The best linear guess at the target's next state, from some of the captured ones.
  case fitted

  public init(from decoder: any Decoder) throws { self = try decodeChoice(from: decoder) }
}
