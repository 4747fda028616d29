import EagleCore

/// The settings of the frozen model that the draft head learns from.
public struct TargetConfig: Config {
  /// The Hugging Face folder (`config.json`, safetensors, `tokenizer.json`), or the GGUF file.
  public var path = ""
  /// The precision of the target's matrix products.
  public var precision = ComputePrecision.bf16
  /// The longest text in tokens, by which models with a `longrope` or `dynamic` rotary embedding choose its scaling.
  /// Nil takes the length of their first training, and all positions of other models.
  public var context: Int?

  /// Creates the settings with all defaults.
  public init() {}

  /// Checks that a path is given, and that the context is 1 token or more.
  public func validate() throws {
    try require(!path.isEmpty, "path", "is missing: name the folder or the GGUF file of the target model")
    if let context { try requireCount(context, "context") }
  }
}
