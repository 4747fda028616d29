/// The model families whose forward pass is implemented. A new one adds its facts here and a tiny model to the
/// fixtures.
public enum TargetFamily: String, Sendable, CaseIterable {
  /// A family whose `model_type` in config.json is the name of its case.
  case llama, mistral, ministral, ministral3, mixtral, qwen2, qwen3
  /// Qwen3 with experts, whose `model_type` is `qwen3_moe`.
  case qwen3MoE = "qwen3_moe"
  /// A family whose `model_type` in config.json is the name of its case.
  case phi3, gemma2
  /// The text model of Gemma 3, whose `model_type` is `gemma3_text`.
  case gemma3 = "gemma3_text"
  /// A family whose `model_type` in config.json is the name of its case.
  case granite, olmo2, olmo3, smollm3, glm4
  /// The gpt-oss models, whose `model_type` is `gpt_oss`.
  case gptOSS = "gpt_oss"

  /// Types that are known and not computed, and why.
  static let refused: [String: String] = [
    "qwen3_next": Self.deltaNets, "qwen3_5": Self.deltaNets, "qwen3_5_text": Self.deltaNets,
    "qwen3_5_moe": Self.deltaNets, "qwen3_5_moe_text": Self.deltaNets,
    "granitemoehybrid": "its layers are state-space models (Mamba-2)",
    "deepseek_v2": Self.latentAttention, "deepseek_v3": Self.latentAttention,
    "gemma": "Gemma 1 is not supported", "gemma3n_text": "its layers have per-layer embeddings",
    "gemma4_text": "its layers differ in their heads", "llama4_text": "its layers have chunked attention",
  ]
  private static let deltaNets =
    "its layers are gated delta nets, whose recurrent state a round of speculation cannot take back yet"
  private static let latentAttention = "its attention is latent (MLA)"

  var facts: FamilyFacts {
    switch self {
    case .llama:
      FamilyFacts(
        queryKeyValueBias: .key("attention_bias"), outputBias: .key("attention_bias"),
        feedForwardBias: .key("mlp_bias"))
    case .mistral, .ministral: FamilyFacts(window: .all, defaults: ["sliding_window": 4096])
    case .ministral3: FamilyFacts(window: .all, defaults: ["head_dim": 128])
    case .mixtral:
      FamilyFacts(
        experts: .init(
          countKey: "num_local_experts", sizeKey: "intermediate_size", isNormalized: .on,
          layout: .single(block: "block_sparse_moe", gate: "w1", up: "w3", down: "w2")), window: .all,
        defaults: ["rope_theta": 1e6])
    case .qwen2:
      FamilyFacts(queryKeyValueBias: .on, window: .fromMaxWindowLayers, defaults: ["sliding_window": 4096])
    case .qwen3: Self.qwen3Facts
    case .qwen3MoE: Self.qwen3MoEFacts
    case .phi3:
      FamilyFacts(fusesQueryKeyValue: true, fusesGateAndUp: true, window: .all, scalesByLongRoPEOnly: true)
    case .gemma2, .gemma3: gemmaFacts
    case .granite:
      FamilyFacts(
        queryKeyValueBias: .key("attention_bias"), outputBias: .key("attention_bias"),
        feedForwardBias: .key("mlp_bias"), multipliers: true)
    case .olmo2, .olmo3: olmoFacts
    case .smollm3:
      FamilyFacts(
        queryKeyValueBias: .key("attention_bias"), outputBias: .key("attention_bias"),
        feedForwardBias: .key("mlp_bias"), window: .withoutRotary, mayOmitRotary: true,
        defaults: ["rope_theta": 2e6], isTiedByDefault: true)
    case .glm4:
      FamilyFacts(
        norms: .init(
          beforeAttention: "input_layernorm", afterAttention: "post_self_attn_layernorm",
          beforeFeedForward: "post_attention_layernorm", afterFeedForward: "post_mlp_layernorm"),
        queryKeyValueBias: .key("attention_bias", default: true), fusesGateAndUp: true, hasInterleavedRotary: true,
        defaults: ["partial_rotary_factor": 0.5])
    case .gptOSS: Self.gptOSSFacts
    }
  }

  private static let qwen3Facts = FamilyFacts(
    queryKeyNorm: .perHead, queryKeyValueBias: .key("attention_bias"), outputBias: .key("attention_bias"),
    window: .fromMaxWindowLayers, defaults: ["head_dim": 128, "sliding_window": 4096])

  private static var qwen3MoEFacts: FamilyFacts {
    var facts = qwen3Facts
    (facts.window, facts.defaults) = (.allIfUsed, ["sliding_window": 4096])
    facts.experts = .init(
      countKey: "num_experts", sizeKey: "moe_intermediate_size", isNormalized: .key("norm_topk_prob"),
      hasDenseLayers: true, layout: .single(block: "mlp", gate: "gate_proj", up: "up_proj", down: "down_proj"))
    return facts
  }

  private var gemmaFacts: FamilyFacts {
    var facts = FamilyFacts(
      norms: .init(
        beforeAttention: "input_layernorm", afterAttention: "post_attention_layernorm",
        beforeFeedForward: "pre_feedforward_layernorm", afterFeedForward: "post_feedforward_layernorm"),
      normOffset: 1, queryKeyValueBias: .key("attention_bias"), outputBias: .key("attention_bias"),
      scalesEmbedding: true, attentionScalarKey: "query_pre_attn_scalar", capsLogits: true, window: .allButEvery(2),
      defaults: ["head_dim": 256, "query_pre_attn_scalar": 256, "sliding_window": 4096], isTiedByDefault: true)
    if self == .gemma2 {
      facts.capsScores = true
      facts.defaults.merge(["attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0]) { $1 }
      return facts
    }
    // Gemma 3's configs have `attn_logit_softcapping` too, and transformers' Gemma3Attention passes it to no attention.
    facts.queryKeyNorm = .perHead
    facts.omittedTokens = ["<image_soft_token>"]
    facts.window = .allButEvery(6, key: "sliding_window_pattern")
    facts.windowRotary = .unscaledTheta(key: "rope_local_base_freq", default: 10000)
    facts.defaults.merge([
      "vocab_size": 262_208, "num_attention_heads": 8, "num_key_value_heads": 4, "rms_norm_eps": 1e-6,
      "max_position_embeddings": 131_072, "rope_theta": 1e6,
    ]) { $1 }
    return facts
  }

  private var olmoFacts: FamilyFacts {
    var facts = FamilyFacts(
      norms: .init(afterAttention: "post_attention_layernorm", afterFeedForward: "post_feedforward_layernorm"),
      queryKeyNorm: .fullWidth, queryKeyValueBias: .key("attention_bias"), outputBias: .key("attention_bias"))
    if self == .olmo3 {
      (facts.window, facts.windowRotary) = (.allButEvery(4), .unscaled)
      facts.defaults = ["rope_theta": 500_000.0, "sliding_window": 4096]
    }
    return facts
  }

  private static let gptOSSFacts = FamilyFacts(
    queryKeyValueBias: .key("attention_bias", default: true), outputBias: .key("attention_bias", default: true),
    hasSinks: true, hasClippedSiLU: true,
    experts: .init(
      countKey: "num_local_experts", sizeKey: "intermediate_size", isNormalized: .on, layout: .stacked),
    window: .allButEvery(2),
    defaults: [
      "head_dim": 64, "rope_theta": 150_000.0, "sliding_window": 128,
      "rope_scaling": [
        "rope_type": "yarn", "factor": 32.0, "original_max_position_embeddings": 4096, "truncate": false,
      ] as [String: any Sendable],
    ])
}
