import EagleTensor
import Foundation

/// The `config.json` of an exported head.
struct DraftConfigFile {
  private let values: [String: Any]

  init(_ shape: DraftShape, target: TargetShape) {
    var values: [String: Any] = [
      "architectures": ["LlamaForCausalLMEagle3"], "model_type": "llama", "hidden_size": shape.hiddenSize,
      "intermediate_size": shape.intermediateSize, "num_attention_heads": shape.attention.heads,
      "num_key_value_heads": shape.attention.kvHeads, "head_dim": shape.attention.headDimension,
      "num_hidden_layers": 1, "vocab_size": shape.vocabularySize, "draft_vocab_size": shape.draftVocabularySize,
      "rope_theta": shape.ropeTheta, "rms_norm_eps": Self.shortest(shape.normEpsilon), "hidden_act": "silu",
      "max_position_embeddings": shape.maxPositions, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
      "attention_bias": false,
    ]
    values["bos_token_id"] = target.bosToken.map { Int($0) }
    values["eos_token_id"] = target.eosTokens.count == 1 ? Int(target.eosTokens[0]) : target.eosTokens.map { Int($0) }
    values["pad_token_id"] = target.padToken.map { Int($0) }
    if shape.captureLayers != target.defaultCaptureLayers {
      // One reader counts "after layer" inside eagle_config, another "before layer" at the top level.
      values["eagle_config"] = ["eagle_aux_hidden_state_layer_ids": shape.captureLayers]
      values["eagle_aux_hidden_state_layer_ids"] = shape.captureLayers.map { $0 + 1 }
    }
    self.values = values
  }

  func json() throws -> Data {
    try JSONSerialization.data(withJSONObject: values, options: [.prettyPrinted, .sortedKeys])
  }

  /// The float's own shortest decimals: 1e-05 and not 9.999999747378752e-06.
  private static func shortest(_ value: Float) -> Double { Double("\(value)") ?? Double(value) }

  /// Reads and checks the config of a head for `target`.
  static func shape(folder: String, target: TargetShape) throws -> DraftShape {
    let file = try ConfigFile(path: "\(folder)/config.json")
    let vocabularySize = try file.integer("draft_vocab_size")  // first: no other model has it
    try file.refuseUncomputed()
    let layers = try file.integerIfPresent("num_hidden_layers") ?? 1
    guard layers == 1 else { throw file.refuse("\(layers) layers (`num_hidden_layers`)") }
    let hidden = try file.integer("hidden_size")
    guard hidden == target.hiddenSize, try file.integer("vocab_size") == target.vocabularySize else {
      throw ModelError(
        path: file.path, problem: "this head is for another target: hidden_size or vocab_size differ",
        advice: "the target has hidden_size \(target.hiddenSize) and vocab_size \(target.vocabularySize)")
    }
    return DraftShape(
      hiddenSize: hidden, attention: try file.attention(hiddenSize: hidden),
      intermediateSize: try file.integer("intermediate_size"), vocabularySize: target.vocabularySize,
      draftVocabularySize: vocabularySize, normEpsilon: Float(try file.number("rms_norm_eps")),
      ropeTheta: file.isAbsent("rope_theta") ? 10000 : try file.number("rope_theta"),
      maxPositions: try file.integerIfPresent("max_position_embeddings") ?? target.maxPositions,
      captureLayers: try captureLayers(file, target))
  }

  private static func captureLayers(_ file: ConfigFile, _ target: TargetShape) throws -> [Int] {
    let after = (file.values["eagle_config"] as? [String: Any])?["eagle_aux_hidden_state_layer_ids"] as? [Int]
    let before = file.values["eagle_aux_hidden_state_layer_ids"] as? [Int]
    let layers = after ?? before?.map { $0 - 1 } ?? target.defaultCaptureLayers
    try target.validate(captureLayers: layers, path: file.path)
    return layers
  }
}
