import EagleCore
import Foundation

/// config.json and generation_config.json of a GGUF model.
struct GGUFConfigFiles: Sendable {
  let sizes: GGUFModelSizes
  let tokens: GGUFTokenIDs
  let rotary: GGUFRotary
  let isTied: Bool
  /// Keys that only some families have, and a family's own values of common keys.
  let familyFields: [String: JSON]

  func config() -> Data {
    var fields: [String: JSON] = [
      "architectures": [.string(sizes.facts.className)],
      "model_type": .string(sizes.family.rawValue),
      "vocab_size": JSON(sizes.vocabulary),
      "hidden_size": JSON(sizes.hidden),
      "intermediate_size": JSON(sizes.intermediate),
      "num_hidden_layers": JSON(sizes.layers),
      "num_attention_heads": JSON(sizes.heads),
      "num_key_value_heads": JSON(sizes.keyValueHeads),
      "head_dim": JSON(sizes.headDimension),
      "max_position_embeddings": JSON(sizes.maximumPositions),
      "rope_theta": .decimal(rotary.theta),
      "rope_scaling": rotary.scaling.map { .fields($0) } ?? .null,
      "rms_norm_eps": .decimal(sizes.normEpsilon),
      "hidden_act": "silu",
      "attention_dropout": .decimal(0),
      "initializer_range": .decimal(0.02),
      "tie_word_embeddings": .bool(isTied),
      "use_cache": true,
      "torch_dtype": "bfloat16",
    ]
    fields.merge(familyFields) { $1 }
    fields.merge(tokenFields) { $1 }
    return file(fields)
  }

  func generationConfig() -> Data {
    var fields = tokenFields
    if let eos = tokens.eos, let end = tokens.endOfTurn, end != eos {
      fields["eos_token_id"] = [JSON(eos), JSON(end)]
    }
    return file(fields)
  }

  private var tokenFields: [String: JSON] {
    let ids = [("bos_token_id", tokens.bos), ("eos_token_id", tokens.eos), ("pad_token_id", tokens.pad)]
    return ids.reduce(into: [:]) { $0[$1.0] = $1.1.map { JSON($0) } }
  }

  private func file(_ fields: [String: JSON]) -> Data { Data((JSON.fields(fields).text(.indented(2)) + "\n").utf8) }
}

extension JSON {
  /// A finite number, with a decimal point or an exponent: Python's readers distinguish 4.0 from 4.
  static func decimal(_ value: Double) -> JSON { JSON(value) ?? .null }

  /// An object with sorted keys.
  static func fields(_ fields: [String: JSON]) -> JSON {
    .object(Object(fields.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }))
  }
}
