/// The precision of matrix products, of the states that they compute, and of gradients on the wire.
///
/// Norms, residual streams, gradients in memory and optimiser state are fp32 in both.
public enum ComputePrecision: String, Codable, CaseIterable, Sendable {
  /// bfloat16 operands, and accumulation in fp32.
  case bf16
  /// float32 operands and accumulation.
  case fp32

  public init(from decoder: any Decoder) throws { self = try decodeChoice(from: decoder) }
}
