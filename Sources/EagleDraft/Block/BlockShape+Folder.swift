import EagleCore
import EagleModels
import Foundation

// Block drafters as folders, written: the layouts of DeepSpec, of DFlash's releases and of speculators.
extension BlockShape {
  package func folder(
    _ layout: HeadLayout?, target: TargetShape, verifier: String?, path: String
  ) throws -> HeadFolder {
    let isWhole = draftVocabularySize == vocabularySize
    let layout = layout ?? (isWhole ? .deepspec : .speculators)
    var values: [String: Any]
    switch layout {
    case .deepspec where isWhole: values = release(target)
    case .deepspec:
      throw LocatedError(
        path: path,
        problem: "DeepSpec's layout has no draft vocabulary, and this head has one of \(draftVocabularySize)",
        advice: "write the layout speculators")
    case .speculators where embeddingScale == 1: values = speculators(target, verifier)
    case .speculators:
      throw LocatedError(
        path: path,
        problem: "speculators' layout does not scale embeddings, and this head reads those of its target "
          + "times \(embeddingScale)",
        advice: isWhole
          ? "write the layout deepspec" : "train it with draft.vocabulary_size: all, or export a .gguf file")
    case .eagle3:
      throw LocatedError(
        path: path, problem: "the layout of the EAGLE-3 release is not for a block drafter",
        advice: "write the layout deepspec or speculators")
    }
    values["torch_dtype"] = "bfloat16"
    if lmHead == .own { values[HeadEmbedding.headKey] = true }
    let data = try JSONSerialization.data(withJSONObject: values, options: [.prettyPrinted, .sortedKeys])
    // DeepSpec loads a folder without its target, so the folder also holds the embedding and the LM head.
    let isAlone = layout == .deepspec && isDeepSpecClass
    return HeadFolder(
      config: data, tensorName: { $0 },
      headRows: lmHead == .target && (isAlone || !isWhole) ? BlockTensors.lmHead : nil,
      embedding: isAlone ? BlockTensors.embedding : nil)
  }

  /// Whether DeepSpec's class computes the head. In the class of DFlash's releases the anchor proposes no token.
  private var isDeepSpecClass: Bool { kind == .dspark || samplesFromAnchor }

  /// DeepSpec's keys, or those of a DFlash release.
  private func release(_ target: TargetShape) -> [String: Any] {
    var values = layer(target)
    values["num_target_layers"] = target.layers
    values["block_size"] = blockSize
    if embeddingScale != 1 { values["input_embedding_scale"] = Double(embeddingScale) }
    values["sample_from_anchor"] = samplesFromAnchor
    if isDeepSpecClass {
      values.merge(heads) { $1 }
      values["architectures"] = ["Qwen3DSparkModel"]
      (values["mask_token_id"], values["target_layer_ids"]) = (Int(maskToken), captureLayers)
      values["num_anchors"] = ObjectiveSettings.deepSpecAnchors
    } else {
      values["architectures"] = ["DFlashDraftModel"]
      values["dflash_config"] = ["mask_token_id": Int(maskToken), "target_layer_ids": captureLayers] as [String: Any]
    }
    values["bos_token_id"] = target.bosToken.map { Int($0) }
    values["eos_token_id"] = target.eosTokens.count == 1 ? Int(target.eosTokens[0]) : target.eosTokens.map { Int($0) }
    return values
  }

  private var heads: [String: Any] {
    [
      "markov_rank": markovRank, "markov_head_type": "vanilla", "enable_confidence_head": hasConfidence,
      "confidence_head_with_markov": markovRank > 0,
    ]
  }

  private func speculators(_ target: TargetShape, _ verifier: String?) -> [String: Any] {
    let proposal: [String: Any] = [
      "proposal_type": "greedy", "speculative_tokens": proposals, "verifier_accept_k": 1, "accept_tolerance": 0.0,
    ]
    var layer = layer(target)
    if layer["rope_scaling"] == nil {
      layer["rope_parameters"] = ["rope_type": "default", "rope_theta": ropeTheta] as [String: Any]
    }
    let values: [String: Any] = [
      "architectures": [kind == .dspark ? "DSparkSpeculator" : "DFlashSpeculator"],
      "speculators_model_type": kind.rawValue, "speculators_version": "0.9.0",
      "draft_vocab_size": draftVocabularySize, "block_size": blockSize, "mask_token_id": Int(maskToken),
      "sample_from_anchor": samplesFromAnchor, "aux_hidden_state_layer_ids": captureLayers.map { $0 + 1 },
      "transformer_layer_config": layer, "tie_word_embeddings": false,
      "speculators_config": [
        "algorithm": kind.rawValue, "default_proposal_method": "greedy", "proposal_methods": [proposal],
        "verifier": ["name_or_path": verifier ?? NSNull(), "architectures": [String]()] as [String: Any],
      ] as [String: Any],
    ]
    return kind == .dspark ? values.merging(heads) { $1 } : values
  }

  /// The keys of the decoder layers.
  private func layer(_ target: TargetShape) -> [String: Any] {
    var values: [String: Any] = [
      "model_type": "qwen3", "hidden_size": hiddenSize, "intermediate_size": intermediateSize,
      "num_attention_heads": attention.heads, "num_key_value_heads": attention.kvHeads,
      "head_dim": attention.headDimension, "num_hidden_layers": layers, "vocab_size": vocabularySize,
      "rope_theta": ropeTheta, "rms_norm_eps": Double("\(normEpsilon)") ?? Double(normEpsilon), "hidden_act": "silu",
      "max_position_embeddings": target.statedPositions(head: maxPositions, ropeScaling),
      "attention_bias": false, "tie_word_embeddings": false,
      "layer_types": [String](repeating: "full_attention", count: layers),
    ]
    values["rope_scaling"] = ropeScaling?.configValues
    return values
  }
}
