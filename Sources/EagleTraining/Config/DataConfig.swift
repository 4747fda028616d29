import EagleModels

/// The conversations to learn from, and how they become tokens.
public struct DataConfig: Config {
  /// JSON Lines files, one conversation a line.
  public var train: [String] = []
  /// Share of the conversations kept out of training and measured instead, 0 up to but not including 1.
  public var heldOut = 0.02
  /// Name of the chat template, or `auto`: the one that the target's tokenizer folder calls for.
  public var chatTemplate = "auto"
  /// Tokens after which a conversation is cut.
  public var maxLength = 2048

  public init() {}

  public func validate() throws {
    try require(!train.isEmpty, "train", "is empty: name at least one file of conversations")
    try require(!train.contains(""), "train", "holds an empty path")
    try require(heldOut >= 0 && heldOut < 1, "held_out", "must be at least 0 and below 1, not \(heldOut)")
    try require(!chatTemplate.isEmpty, "chat_template", "is empty: name a template, or write auto")
    try require(maxLength >= 2, "max_length", "must be 2 tokens or more, not \(maxLength)")
  }

  enum CodingKeys: String, CodingKey {
    case train
    case heldOut = "held_out"
    case chatTemplate = "chat_template"
    case maxLength = "max_length"
  }
}
