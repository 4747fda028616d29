// H hidden size of the head, H_t of the target · n captured layers · M MLP · D draft vocabulary · V target vocabulary ·
// d head dimension.

/// The names of a head's tensors in an exported folder.
enum Eagle3Tensors {
  static let fc = "fc.weight"
  static let queries = "midlayer.self_attn.q_proj.weight"
  static let keys = "midlayer.self_attn.k_proj.weight"
  static let queryNorm = "midlayer.self_attn.q_norm.weight"
  static let keyNorm = "midlayer.self_attn.k_norm.weight"
  static let inputNorm = "input_norm.weight"
  static let embedding = "embed_tokens.weight"
  static let lmHead = "lm_head.weight"

  /// The name in a folder of this layout.
  static func name(_ name: String, in layout: HeadLayout) -> String {
    layout == .speculators && name.hasPrefix("midlayer.") ? "layers.0" + name.dropFirst("midlayer".count) : name
  }

  /// The norms before `fc`.
  static func featureNorms(_ shape: Eagle3Shape) -> [(name: String, shape: [Int])] {
    switch shape.variant.featureNorm {
    case .none: []
    case .joint: [(inputNorm, [shape.featureWidth])]
    case .perState: shape.captureLayers.indices.map { ("fc_norm.\($0).weight", [shape.targetHiddenSize]) }
    }
  }
}

extension Eagle3Shape {
  /// Names and shapes of all trained tensors.
  package var tensorShapes: [(name: String, shape: [Int])] {
    let (h, m, d) = (hiddenSize, intermediateSize, attention.headDimension)
    let (q, kv) = (attention.queryWidth, attention.keyWidth)
    let headNorms = variant.normsQueryKey ? [(Eagle3Tensors.queryNorm, [d]), (Eagle3Tensors.keyNorm, [d])] : []
    return Eagle3Tensors.featureNorms(self) + [
      (Eagle3Tensors.fc, [h, featureWidth]), ("midlayer.input_layernorm.weight", [h]),
      ("midlayer.hidden_norm.weight", [h]), (Eagle3Tensors.queries, [q, 2 * h]), (Eagle3Tensors.keys, [kv, 2 * h]),
      ("midlayer.self_attn.v_proj.weight", [kv, 2 * h]), ("midlayer.self_attn.o_proj.weight", [h, q]),
    ] + headNorms + [
      ("midlayer.post_attention_layernorm.weight", [h]), ("midlayer.mlp.gate_proj.weight", [m, h]),
      ("midlayer.mlp.up_proj.weight", [m, h]), ("midlayer.mlp.down_proj.weight", [h, m]), ("norm.weight", [h]),
    ] + (variant.lmHead == .own ? [(Eagle3Tensors.lmHead, [draftVocabularySize, h])] : [])
      + (variant.embedding == .own ? [(Eagle3Tensors.embedding, [vocabularySize, h])] : [])
  }
}
