import EagleCore

/// The settings of the frozen model that the draft head learns from.
public struct TargetConfig: Config {
  /// The Hugging Face folder (`config.json`, safetensors, `tokenizer.json`), or the GGUF file.
  public var path = ""
  /// The precision of the target's matrix products.
  public var precision = ComputePrecision.bf16
  /// The length of the longest sequence in tokens, by which models with a `longrope` or `dynamic` rotary embedding
  /// choose its scaling. Nil takes the original training length of such models, and all positions of other models.
  public var context: Int?

  /// Creates the settings with all defaults.
  public init() {}

  /// Checks that a path is given, and that the context is 1 token or more.
  public func validate() throws {
    try require(!path.isEmpty, "path", "is missing: name the folder or the GGUF file of the target model")
    if let context { try requireCount(context, "context") }
  }

  private enum CodingKeys: String, CodingKey { case path, precision, context }

  /// Writes every key, null where nothing is set: a recipe knows the keys that its defaults have.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(path, forKey: .path)
    try container.encode(precision, forKey: .precision)
    try container.encode(context, forKey: .context)
  }
}
