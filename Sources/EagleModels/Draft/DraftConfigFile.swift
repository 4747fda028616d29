import Foundation

/// The `config.json` of an exported head.
struct DraftConfigFile {
  static let layerIDs = "eagle_aux_hidden_state_layer_ids"

  private let values: [String: Any]

  init(_ shape: DraftShape, target: TargetShape) {
    var values: [String: Any] = [
      "architectures": ["LlamaForCausalLMEagle3"], "model_type": "llama", "hidden_size": shape.hiddenSize,
      "intermediate_size": shape.intermediateSize, "num_attention_heads": shape.attention.heads,
      "num_key_value_heads": shape.attention.kvHeads, "head_dim": shape.attention.headDimension,
      "num_hidden_layers": 1, "vocab_size": shape.vocabularySize, "draft_vocab_size": shape.draftVocabularySize,
      "rope_theta": shape.ropeTheta, "rms_norm_eps": Self.shortest(shape.normEpsilon), "hidden_act": "silu",
      "max_position_embeddings": target.maxPositions, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
      "attention_bias": false,
    ]
    values["rope_scaling"] = shape.ropeScaling?.configValues
    values["bos_token_id"] = target.bosToken.map { Int($0) }
    values["eos_token_id"] = target.eosTokens.count == 1 ? Int(target.eosTokens[0]) : target.eosTokens.map { Int($0) }
    values["pad_token_id"] = target.padToken.map { Int($0) }
    // Always: a reader that falls back to other layers drafts badly and says nothing. Readers count
    // layer outputs inside eagle_config, and layer inputs at the top level.
    values["eagle_config"] = [Self.layerIDs: shape.captureLayers]
    values[Self.layerIDs] = shape.captureLayers.map { $0 + 1 }
    self.values = values
  }

  func json() throws -> Data {
    try JSONSerialization.data(withJSONObject: values, options: [.prettyPrinted, .sortedKeys])
  }

  /// The float's own shortest decimals: 1e-05 and not 9.999999747378752e-06.
  private static func shortest(_ value: Float) -> Double { Double("\(value)") ?? Double(value) }
}
