import EagleModels
import EagleTensor
import Foundation

/// The `config.json` of an exported head.
struct DraftConfigFile {
  static let layerIDs = "eagle_aux_hidden_state_layer_ids"

  private let values: [String: Any]

  /// - Parameter verifier: the name or the path of the target; speculators' layout holds it, and readers load it
  init(_ shape: Eagle3Shape, target: TargetShape, layout: HeadLayout, verifier: String?) {
    switch layout {
    case .eagle3: values = Self.release(shape, target)
    case .speculators: values = Self.speculators(shape, target, verifier)
    case .deepspec: preconditionFailure("DeepSpec's layout is for block drafters")
    }
  }

  func json() throws -> Data {
    try JSONSerialization.data(withJSONObject: values, options: [.prettyPrinted, .sortedKeys])
  }

  /// The keys of the EAGLE-3 release, and for switches the keys that vLLM, llama.cpp and SpecForge read.
  private static func release(_ shape: Eagle3Shape, _ target: TargetShape) -> [String: Any] {
    var values = layer(shape, target)
    values["architectures"] = ["LlamaForCausalLMEagle3"]
    values["model_type"] = "llama"
    values["draft_vocab_size"] = shape.draftVocabularySize
    values["tie_word_embeddings"] = false
    values["torch_dtype"] = "bfloat16"
    let variant = shape.variant
    if variant.featureNorm == .joint { values["norm_before_fc"] = true }
    if variant.featureNorm == .perState { values["fc_norm"] = true }
    if variant.normsResidual { values["norm_before_residual"] = true }
    if variant.embedding == .own { values[HeadEmbedding.key] = true }
    values["target_hidden_size"] = variant.targetHiddenSize
    values["bos_token_id"] = target.bosToken.map { Int($0) }
    values["eos_token_id"] = target.eosTokens.count == 1 ? Int(target.eosTokens[0]) : target.eosTokens.map { Int($0) }
    values["pad_token_id"] = target.padToken.map { Int($0) }
    // Always written: a reader that falls back to other layers drafts badly without any error. Readers count layer
    // outputs inside eagle_config, and layer inputs at the top level.
    values["eagle_config"] = [layerIDs: shape.captureLayers]
    values[layerIDs] = shape.captureLayers.map { $0 + 1 }
    if shape.captureLayers.count != 3 { values["num_aux_hidden_states"] = shape.captureLayers.count }
    return values
  }

  /// The keys of speculators, which counts layer inputs. A layer with norms of q and k is one of Qwen3.
  private static func speculators(
    _ shape: Eagle3Shape, _ target: TargetShape, _ verifier: String?
  ) -> [String: Any] {
    var layer = layer(shape, target)
    layer["model_type"] = shape.variant.normsQueryKey ? "qwen3" : "llama"
    layer["tie_word_embeddings"] = false
    // Without this key transformers drops the window of a Qwen3 layer.
    if shape.variant.window != nil, shape.variant.normsQueryKey { layer["use_sliding_window"] = true }
    if layer["rope_scaling"] == nil {
      layer["rope_parameters"] = ["rope_type": "default", "rope_theta": shape.ropeTheta] as [String: Any]
    }
    let proposal: [String: Any] = [
      "proposal_type": "greedy", "speculative_tokens": 3, "verifier_accept_k": 1, "accept_tolerance": 0.0,
    ]
    var values: [String: Any] = [
      "architectures": ["Eagle3Speculator"], "speculators_model_type": "eagle3", "speculators_version": "0.9.0",
      "draft_vocab_size": shape.draftVocabularySize, "torch_dtype": "bfloat16", "tie_word_embeddings": false,
      "norm_before_residual": shape.variant.normsResidual, "norm_before_fc": shape.variant.featureNorm == .joint,
      "fc_norm": shape.variant.featureNorm == .perState, "norm_output": shape.variant.feedsNormedState,
      HeadEmbedding.key: shape.variant.embedding == .own, layerIDs: shape.captureLayers.map { $0 + 1 },
      "transformer_layer_config": layer,
      "speculators_config": [
        "algorithm": "eagle3", "default_proposal_method": "greedy", "proposal_methods": [proposal],
        "verifier": ["name_or_path": verifier ?? NSNull(), "architectures": [String]()] as [String: Any],
      ] as [String: Any],
    ]
    values["target_hidden_size"] = shape.variant.targetHiddenSize
    return values
  }

  /// The keys of the decoder layers.
  private static func layer(_ shape: Eagle3Shape, _ target: TargetShape) -> [String: Any] {
    var values: [String: Any] = [
      "hidden_size": shape.hiddenSize, "intermediate_size": shape.intermediateSize,
      "num_attention_heads": shape.attention.heads, "num_key_value_heads": shape.attention.kvHeads,
      "head_dim": shape.attention.headDimension, "num_hidden_layers": shape.layers, "vocab_size": shape.vocabularySize,
      "rope_theta": shape.ropeTheta, "rms_norm_eps": shortest(shape.normEpsilon), "hidden_act": "silu",
      "max_position_embeddings": target.statedPositions(head: shape.maxPositions, shape.ropeScaling),
      "attention_bias": false,
    ]
    values["rope_scaling"] = shape.ropeScaling?.configValues
    if let window = shape.variant.window {
      (values["sliding_window"], values["layer_types"]) = (
        window, [String](repeating: "sliding_attention", count: shape.layers)
      )
    }
    return values
  }

  /// The float's own shortest decimals: 1e-05 and not 9.999999747378752e-06.
  private static func shortest(_ value: Float) -> Double { Double("\(value)") ?? Double(value) }
}
