/// What llama.cpp's converter makes of a family's weights, and the constants that its files leave out.
struct GGUFFacts {
  /// `architectures` of config.json.
  let className: String
  /// Whether llama.cpp stores the rows of q and k in another order than Hugging Face.
  var permutesQueryAndKey = false
  /// What the converter adds to the weights of norms.
  var normOffset: Float = 0
  /// The names of a layer's norms after `blk.N.` and after `model.layers.N.`.
  var norms = [("attn_norm", "input_layernorm"), ("ffn_norm", "post_attention_layernorm")]
  var queryKeyNorm = QueryKeyNorm.none
  var bias = Biases()
  /// Whether q, k and v, and gate and up, are stored in one matrix, as in Hugging Face's files.
  var fusesQueryKeyValue = false
  var fusesGateAndUp = false
  /// Whether only the first columns of a head may be rotated.
  var mayRotateInPart = false
  var experts = Experts.none
  var hasSinks = false

  /// The width of the norms of q and k.
  enum QueryKeyNorm { case none, perHead, fullWidth }

  enum Experts {
    case none
    /// A matrix each, by the names of the block, and of gate, up and down.
    case single(block: String, gate: String, up: String, down: String)
    /// Stacked, gate and up interleaved, with biases (gpt-oss).
    case stacked
  }

  /// Which biases a family may have, or has always.
  struct Biases {
    var queryKeyValue = Presence.never
    var output = Presence.never
    var feedForward = Presence.never

    enum Presence { case never, maybe, always }
  }

  static func of(_ family: TargetFamily) -> GGUFFacts {
    switch family {
    case .llama: GGUFFacts(className: "LlamaForCausalLM", permutesQueryAndKey: true, bias: anywhere)
    case .mistral: GGUFFacts(className: "MistralForCausalLM", permutesQueryAndKey: true)
    case .ministral: GGUFFacts(className: "MinistralForCausalLM", permutesQueryAndKey: true)
    case .ministral3: GGUFFacts(className: "Ministral3ForCausalLM", permutesQueryAndKey: true)
    case .mixtral:
      GGUFFacts(
        className: "MixtralForCausalLM", permutesQueryAndKey: true,
        experts: .single(block: "block_sparse_moe", gate: "w1", up: "w3", down: "w2"))
    case .qwen2: GGUFFacts(className: "Qwen2ForCausalLM", bias: .init(queryKeyValue: .always))
    case .qwen3: GGUFFacts(className: "Qwen3ForCausalLM", queryKeyNorm: .perHead, bias: attention)
    case .qwen3MoE:
      GGUFFacts(
        className: "Qwen3MoeForCausalLM", queryKeyNorm: .perHead, bias: attention,
        experts: .single(block: "mlp", gate: "gate_proj", up: "up_proj", down: "down_proj"))
    case .phi3:
      GGUFFacts(
        className: "Phi3ForCausalLM", fusesQueryKeyValue: true, fusesGateAndUp: true, mayRotateInPart: true)
    case .gemma2: GGUFFacts(className: "Gemma2ForCausalLM", normOffset: 1, norms: gemmaNorms)
    case .gemma3:
      GGUFFacts(className: "Gemma3ForCausalLM", normOffset: 1, norms: gemmaNorms, queryKeyNorm: .perHead)
    case .granite: GGUFFacts(className: "GraniteForCausalLM", permutesQueryAndKey: true, bias: anywhere)
    case .olmo2, .olmo3:
      GGUFFacts(
        className: family == .olmo2 ? "Olmo2ForCausalLM" : "Olmo3ForCausalLM", norms: olmoNorms,
        queryKeyNorm: .fullWidth, bias: attention)
    case .smollm3: GGUFFacts(className: "SmolLM3ForCausalLM", permutesQueryAndKey: true, bias: anywhere)
    case .glm4:
      GGUFFacts(
        className: "Glm4ForCausalLM", norms: glmNorms, bias: .init(queryKeyValue: .maybe), fusesGateAndUp: true,
        mayRotateInPart: true)
    case .gptOSS:
      GGUFFacts(
        className: "GptOssForCausalLM",
        norms: [("attn_norm", "input_layernorm"), ("post_attention_norm", "post_attention_layernorm")],
        bias: .init(queryKeyValue: .maybe, output: .maybe), experts: .stacked, hasSinks: true)
    }
  }

  private static let attention = Biases(queryKeyValue: .maybe, output: .maybe)
  private static let anywhere = Biases(queryKeyValue: .maybe, output: .maybe, feedForward: .maybe)
  private static let gemmaNorms = [
    ("attn_norm", "input_layernorm"), ("post_attention_norm", "post_attention_layernorm"),
    ("ffn_norm", "pre_feedforward_layernorm"), ("post_ffw_norm", "post_feedforward_layernorm"),
  ]
  private static let olmoNorms = [
    ("post_attention_norm", "post_attention_layernorm"), ("post_ffw_norm", "post_feedforward_layernorm"),
  ]
  private static let glmNorms = [
    ("attn_norm", "input_layernorm"), ("post_attention_norm", "post_self_attn_layernorm"),
    ("ffn_norm", "post_attention_layernorm"), ("post_ffw_norm", "post_mlp_layernorm"),
  ]
}
