import Foundation

/// config.json and generation_config.json of an imported model.
struct GGUFConfigFiles {
  let sizes: GGUFModelSizes
  let vocabulary: GGUFVocabulary
  let isTied: Bool
  let hasAttentionBias: Bool

  func config() throws -> Data {
    var fields: [String: Any] = [
      "architectures": [sizes.architecture.className],
      "model_type": sizes.architecture.rawValue,
      "vocab_size": sizes.vocabulary,
      "hidden_size": sizes.hidden,
      "intermediate_size": sizes.intermediate,
      "num_hidden_layers": sizes.layers,
      "num_attention_heads": sizes.heads,
      "num_key_value_heads": sizes.keyValueHeads,
      "head_dim": sizes.headDimension,
      "max_position_embeddings": sizes.maximumPositions,
      "rope_theta": sizes.ropeTheta,
      "rope_scaling": NSNull(),
      "rms_norm_eps": sizes.normEpsilon,
      "hidden_act": "silu",
      "attention_dropout": 0.0,
      "initializer_range": 0.02,
      "tie_word_embeddings": isTied,
      "use_cache": true,
      "torch_dtype": "bfloat16",
    ]
    fields.merge(familyFields) { $1 }
    fields.merge(tokenFields) { $1 }
    return try json(fields)
  }

  func generationConfig() throws -> Data {
    var fields = tokenFields
    if let eos = vocabulary.eos, let end = vocabulary.endOfTurn, end != eos { fields["eos_token_id"] = [eos, end] }
    return try json(fields)
  }

  private var familyFields: [String: Any] {
    switch sizes.architecture {
    case .llama: ["attention_bias": hasAttentionBias, "mlp_bias": false]
    case .qwen2: ["use_sliding_window": false]
    case .qwen3: ["attention_bias": false, "use_sliding_window": false]
    }
  }

  private var tokenFields: [String: Any] {
    let ids = [("bos_token_id", vocabulary.bos), ("eos_token_id", vocabulary.eos), ("pad_token_id", vocabulary.pad)]
    return ids.reduce(into: [:]) { $0[$1.0] = $1.1 }
  }

  private func json(_ fields: [String: Any]) throws -> Data {
    let options: JSONSerialization.WritingOptions = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    return try JSONSerialization.data(withJSONObject: fields, options: options) + Data("\n".utf8)
  }
}
