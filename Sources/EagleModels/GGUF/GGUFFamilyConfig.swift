import EagleCore
import EagleStorage

/// The keys of config.json that only some families have, from metadata, and from the constants of llama.cpp where its
/// files leave them out.
struct GGUFFamilyConfig {
  private let keys: GGUFKeys
  private let sizes: GGUFModelSizes
  private let rotary: GGUFRotary
  private let items: [GGUFItem]

  init(_ file: GGUFFile, _ sizes: GGUFModelSizes, rotary: GGUFRotary, items: [GGUFItem]) {
    keys = GGUFKeys(file: file, prefix: sizes.architecture.rawValue)
    (self.sizes, self.rotary, self.items) = (sizes, rotary, items)
  }

  func fields() throws -> [String: JSON] {
    switch sizes.family {
    case .llama, .smollm3, .granite:
      let biases: [String: JSON] = [
        "attention_bias": .bool(hasAttentionBias),
        "mlp_bias": .bool(["gate_proj", "up_proj", "down_proj"].contains(where: hasBias)),
      ]
      return biases.merging(try own()) { $1 }
    case .qwen3, .qwen3MoE, .olmo2, .olmo3, .glm4, .gptOSS:
      return ["attention_bias": .bool(hasAttentionBias)].merging(try own()) { $1 }
    default: return try own()
    }
  }

  private func own() throws -> [String: JSON] {
    switch sizes.family {
    case .llama, .olmo2: [:]
    case .mistral, .ministral: ["sliding_window": nil]
    case .ministral3: try ministral3()
    case .mixtral: experts("num_local_experts").merging(["sliding_window": nil]) { $1 }
    case .qwen2, .qwen3: ["use_sliding_window": false]
    case .qwen3MoE: qwen3MoE()
    case .phi3: try phi3()
    case .gemma2, .gemma3: try gemma()
    case .granite: try granite()
    case .olmo3: try windows(every: 4)
    case .smollm3: smollm3()
    case .glm4: ["partial_rotary_factor": .decimal(rotatedShare)]
    case .gptOSS: try gptOSS()
    }
  }

  /// Whether the file has any bias of attention. Then all of them are read, so that a file with only some is rejected
  /// by name.
  private var hasAttentionBias: Bool { ["q_proj", "k_proj", "v_proj", "o_proj"].contains(where: hasBias) }

  private func hasBias(_ name: String) -> Bool { items.contains { $0.target.hasSuffix("\(name).bias") } }

  private var rotatedShare: Double { Double(rotary.dimensions) / Double(sizes.headDimension) }

  private func experts(_ countKey: String) -> [String: JSON] {
    guard let experts = sizes.experts else { return [:] }
    return [countKey: JSON(experts.count), "num_experts_per_tok": JSON(experts.perToken)]
  }

  // MARK: windows

  /// The window, and each layer's type: by the file's pattern, or a window in all layers but every n-th.
  private func windows(every period: Int) throws -> [String: JSON] {
    guard let window = try keys.intIfPresent("attention.sliding_window"), window > 0 else {
      return ["sliding_window": nil]
    }
    let isSliding = try pattern() ?? (0..<sizes.layers).map { ($0 + 1) % period != 0 }
    return [
      "sliding_window": JSON(window),
      "layer_types": .array(isSliding.map { $0 ? "sliding_attention" : "full_attention" }),
    ]
  }

  private func pattern() throws -> [Bool]? {
    let key = "attention.sliding_window_pattern"
    guard let value = keys.file.metadata[keys.name(key)] else { return nil }
    if let period = value.int {
      guard period > 0 else { throw wrongPattern() }
      return (0..<sizes.layers).map { ($0 + 1) % period != 0 }
    }
    let flags = value.array?.compactMap { $0.bool ?? $0.int.map { $0 != 0 } } ?? []
    guard flags.count == sizes.layers else { throw wrongPattern() }
    return flags
  }

  private func wrongPattern() -> LocatedError {
    LocatedError(
      path: keys.file.path,
      problem: "`\(keys.name("attention.sliding_window_pattern"))` is neither a period nor a flag for each of "
        + "\(sizes.layers) layers",
      advice: "the file is damaged: copy or download it again")
  }

  // MARK: families

  private func ministral3() throws -> [String: JSON] {
    var rope: [String: JSON] = rotary.scaling ?? ["rope_type": "default"]
    rope["rope_theta"] = .decimal(rotary.theta)
    rope["type"] = rope["rope_type"]
    rope["llama_4_scaling_beta"] = .decimal(try keys.decimalIfPresent("attention.temperature_scale") ?? 0)
    rope["original_max_position_embeddings"] = rope["original_max_position_embeddings"] ?? JSON(sizes.maximumPositions)
    return ["sliding_window": nil, "rope_parameters": .fields(rope), "rope_scaling": nil, "rope_theta": nil]
  }

  private func qwen3MoE() -> [String: JSON] {
    experts("num_experts").merging([
      "moe_intermediate_size": JSON(sizes.experts?.intermediate ?? 0), "norm_topk_prob": true, "decoder_sparse_step": 1,
      "mlp_only_layers": [], "use_sliding_window": false,
    ]) { $1 }
  }

  private func phi3() throws -> [String: JSON] {
    let window = try keys.intIfPresent("attention.sliding_window") ?? 0
    let original = try keys.intIfPresent("rope.scaling.original_context_length") ?? sizes.maximumPositions
    return [
      "partial_rotary_factor": .decimal(rotatedShare), "original_max_position_embeddings": JSON(original),
      "sliding_window": window > 0 ? JSON(window) : nil,
    ]
  }

  private func gemma() throws -> [String: JSON] {
    let largest = sizes.family == .gemma2 ? 46 : 62  // layers of the 27B models
    let scalar = sizes.layers == largest ? sizes.hidden / sizes.heads : sizes.headDimension
    var fields: [String: JSON] = [
      "hidden_act": nil, "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": JSON(scalar),
      "attn_logit_softcapping": nil, "final_logit_softcapping": nil, "attention_bias": false,
    ]
    for key in ["attn_logit_softcapping", "final_logit_softcapping"] {
      let cap = try keys.decimalIfPresent(key) ?? (sizes.family == .gemma2 ? key.hasPrefix("attn") ? 50 : 30 : 0)
      if cap != 0 { fields[key] = .decimal(cap) }
    }
    fields.merge(try windows(every: sizes.family == .gemma2 ? 2 : 6)) { $1 }
    if fields["layer_types"] == nil {
      fields["sliding_window"] = 4096
      fields["layer_types"] = types(hasWindow: sizes.family == .gemma2)
    }
    if sizes.family == .gemma3 { fields["rope_local_base_freq"] = .decimal(rotary.windowTheta ?? 10000) }
    return fields
  }

  /// The layer types for a file that states no window: Gemma 2 has one in every other layer all the same.
  private func types(hasWindow: Bool) -> JSON {
    .array((0..<sizes.layers).map { hasWindow && $0 % 2 == 0 ? "sliding_attention" : "full_attention" })
  }

  private func granite() throws -> [String: JSON] {
    [
      "attention_multiplier": .decimal(
        try keys.decimalIfPresent("attention.scale") ?? 1 / Double(sizes.headDimension).squareRoot()),
      "embedding_multiplier": .decimal(try keys.decimalIfPresent("embedding_scale") ?? 1),
      "residual_multiplier": .decimal(try keys.decimalIfPresent("residual_scale") ?? 1),
      "logits_scaling": .decimal(try keys.decimal("logit_scale")),
    ]
  }

  /// llama.cpp rotates all but every fourth layer.
  private func smollm3() -> [String: JSON] {
    [
      "no_rope_layer_interval": 4, "no_rope_layers": .array((0..<sizes.layers).map { ($0 + 1) % 4 == 0 ? 0 : 1 }),
      "use_sliding_window": false, "sliding_window": nil,
    ]
  }

  private func gptOSS() throws -> [String: JSON] {
    var fields = experts("num_local_experts").merging(try windows(every: 2)) { $1 }
    fields["swiglu_limit"] = .decimal(7)
    fields["intermediate_size"] = JSON(sizes.experts?.intermediate ?? sizes.intermediate)
    guard fields["layer_types"] != nil else {
      throw LocatedError(
        path: keys.file.path, problem: "has no metadata key `\(keys.name("attention.sliding_window"))`")
    }
    if items.contains(where: { $0.dtype == .uint8 }) {
      let others: JSON = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]
      fields["quantization_config"] = ["quant_method": "mxfp4", "modules_to_not_convert": others]
    }
    return fields
  }
}
