/// The EAGLE-3 draft head. Its other sizes are those of the target.
public struct DraftConfig: Config {
  /// D, how many of the target's tokens the head can propose: the most frequent ones of the training answers.
  public var vocabularySize = 32000
  /// Base of the rotary embedding. Some readers of exported heads have 10000 built in.
  public var ropeTheta = 10000.0
  /// Folder of an exported EAGLE-3 head to start from; none starts from random weights.
  public var initFrom: String?

  public init() {}

  public func validate() throws {
    try require(vocabularySize >= 1, "vocabulary_size", "must be 1 or more, not \(vocabularySize)")
    try require(ropeTheta > 0 && ropeTheta.isFinite, "rope_theta", "must be above 0, not \(ropeTheta)")
    try require(initFrom != "", "init_from", "is empty: name a folder, or write null")
  }

  enum CodingKeys: String, CodingKey {
    case vocabularySize = "vocabulary_size"
    case ropeTheta = "rope_theta"
    case initFrom = "init_from"
  }

  /// Written by hand so that an absent `init_from` is an explicit null: a dump shows every key there is.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(vocabularySize, forKey: .vocabularySize)
    try container.encode(ropeTheta, forKey: .ropeTheta)
    try container.encode(initFrom, forKey: .initFrom)
  }
}
