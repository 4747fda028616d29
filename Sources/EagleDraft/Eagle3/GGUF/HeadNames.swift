/// llama.cpp's names for the parts of an EAGLE-3 head.
enum HeadNames {
  static let architecture = "eagle3"
  /// The target id of each draft id, int64 [D].
  static let targetIDs = "d2t"
  /// The norm before `fc`, [n H_t].
  static let inputNorm = "enc.output_norm.weight"
  /// A copy of the target's embedding, or the head's own, [V, H].
  static let embedding = "token_embd.weight"
  static let lmHead = "output.weight"
  /// The divisors of the rotary embedding's frequencies, [d / 2].
  static let rotaryFactors = "rope_freqs.weight"

  /// The name in a GGUF file of each tensor of `Eagle3Shape.tensorShapes`.
  static let tensors: [String: String] = [
    "fc.weight": "fc.weight", "midlayer.input_layernorm.weight": "blk.0.attn_norm.weight",
    "midlayer.hidden_norm.weight": "blk.0.attn_norm_2.weight", queries: "blk.0.attn_q.weight",
    keys: "blk.0.attn_k.weight", "midlayer.self_attn.v_proj.weight": "blk.0.attn_v.weight",
    "midlayer.self_attn.o_proj.weight": "blk.0.attn_output.weight",
    "midlayer.post_attention_layernorm.weight": "blk.0.ffn_norm.weight",
    "midlayer.mlp.gate_proj.weight": "blk.0.ffn_gate.weight", "midlayer.mlp.up_proj.weight": "blk.0.ffn_up.weight",
    "midlayer.mlp.down_proj.weight": "blk.0.ffn_down.weight", "norm.weight": "output_norm.weight",
    Eagle3Tensors.lmHead: lmHead, Eagle3Tensors.inputNorm: inputNorm, Eagle3Tensors.embedding: embedding,
  ]
  private static let queries = "midlayer.self_attn.q_proj.weight"
  private static let keys = "midlayer.self_attn.k_proj.weight"

  /// The number of heads of a matrix whose rows the file stores in another order; nil for the same order.
  static func permutedHeads(_ name: String, _ shape: Eagle3Shape) -> Int? {
    switch name {
    case queries: shape.attention.heads
    case keys: shape.attention.kvHeads
    default: nil
    }
  }
}
