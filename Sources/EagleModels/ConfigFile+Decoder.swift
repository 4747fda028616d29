import EagleCore
import EagleTensor

/// The keys that targets and draft heads have in common.
extension ConfigFile {
  /// The heads and their sizes.
  package func attention(hiddenSize: Int) throws -> AttentionShape {
    let heads = try integer("num_attention_heads")
    let kvHeads = try integerIfPresent("num_key_value_heads") ?? heads
    let dimension = try integerIfPresent("head_dim") ?? hiddenSize / heads
    guard heads % kvHeads == 0 else {
      throw LocatedError(path: path, problem: "\(heads) heads cannot share \(kvHeads) key-value heads")
    }
    guard dimension > 0, dimension % 2 == 0, dimension <= 4096 else {
      throw LocatedError(path: path, problem: "`head_dim` is \(dimension), and must be even, above 0 and at most 4096")
    }
    return AttentionShape(heads: heads, kvHeads: kvHeads, headDimension: dimension)
  }

  /// Throws, by name, for what the layer of a draft head does not compute.
  package func refuseUncomputedHead() throws {
    for key in ["num_experts", "num_local_experts", "n_routed_experts"] where !isAbsent(key) {
      throw refuse("a mixture of experts (`\(key)`)")
    }
    if !isAbsent("quantization_config") { throw refuse("quantised weights (`quantization_config`)") }
    let activation = isAbsent("hidden_act") ? "silu" : try text("hidden_act")
    if activation != "silu" { throw refuse("the activation \"\(activation)\" (`hidden_act`)") }
    for key in ["attention_bias", "mlp_bias"] where flag(key) { throw refuse("biases (`\(key)`)") }
    if let partial = values["partial_rotary_factor"] as? Double, partial != 1 {
      throw refuse("a partial rotary embedding (`partial_rotary_factor`)")
    }
  }
}
