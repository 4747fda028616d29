import EagleCore
import EagleTensor

/// The frozen model that the draft head learns from.
public struct TargetConfig: Config {
  /// Hugging Face folder: `config.json`, safetensors, `tokenizer.json`.
  public var path = ""
  /// Precision of its matrix products.
  public var precision = Precision.bf16

  public init() {}

  public func validate() throws {
    try require(!path.isEmpty, "path", "is missing: name the folder of the target model")
  }
}

/// Precision of matrix products. Sums, norms, residual streams, gradients and optimiser state are fp32 in both.
public enum Precision: String, Codable, CaseIterable, Sendable {
  /// bfloat16 operands, fp32 accumulation.
  case bf16
  case fp32

  public init(from decoder: any Decoder) throws { self = try decodeChoice(from: decoder) }

  /// Products of many rows.
  public var products: Products { self == .bf16 ? .bf16 : .fp32 }
  /// Products of the few rows of a decoding pass.
  public var decodingProducts: Products { self == .bf16 ? .invariantBF16 : .invariant }
}
