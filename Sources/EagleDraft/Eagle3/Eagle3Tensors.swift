// H hidden size of the head, H_t of the target · n captured layers · M MLP · D draft vocabulary · V target vocabulary ·
// d head dimension.

/// The names of a head's tensors in an exported folder.
enum Eagle3Tensors {
  static let (fc, norm, lmHead) = ("fc.weight", "norm.weight", "lm_head.weight")
  static let hiddenNorm = "midlayer.hidden_norm.weight"
  static let inputNorm = "input_norm.weight"
  static let embedding = "embed_tokens.weight"

  /// The tensor `name` of a layer. The first one is called `midlayer`, as in the EAGLE-3 release.
  static func layer(_ index: Int, _ name: String) -> String {
    (index == 0 ? "midlayer" : "layers.\(index)") + ".\(name).weight"
  }

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
    let h = hiddenSize
    return Eagle3Tensors.featureNorms(self) + [(Eagle3Tensors.fc, [h, featureWidth])]
      + (0..<layers).flatMap(layerShapes) + [(Eagle3Tensors.norm, [h])]
      + (variant.lmHead == .own ? [(Eagle3Tensors.lmHead, [draftVocabularySize, h])] : [])
      + (variant.embedding == .own ? [(Eagle3Tensors.embedding, [vocabularySize, h])] : [])
  }

  /// The tensors of a layer. The input of the first one is twice as wide: embedding and state.
  private func layerShapes(_ index: Int) -> [(name: String, shape: [Int])] {
    let (h, m, d) = (hiddenSize, intermediateSize, attention.headDimension)
    let (q, kv, input) = (attention.queryWidth, attention.keyWidth, index == 0 ? 2 * h : h)
    let shapes: [(String, [Int])] =
      [
        ("self_attn.q_proj", [q, input]), ("self_attn.k_proj", [kv, input]), ("self_attn.v_proj", [kv, input]),
        ("self_attn.o_proj", [h, q]),
      ] + (variant.normsQueryKey ? [("self_attn.q_norm", [d]), ("self_attn.k_norm", [d])] : []) + [
        ("post_attention_layernorm", [h]), ("mlp.gate_proj", [m, h]), ("mlp.up_proj", [m, h]),
        ("mlp.down_proj", [h, m]),
      ]
    let norms = [(Eagle3Tensors.layer(index, "input_layernorm"), [h])]
    return norms + (index == 0 ? [(Eagle3Tensors.hiddenNorm, [h])] : [])
      + shapes.map { (Eagle3Tensors.layer(index, $0.0), $0.1) }
  }
}
