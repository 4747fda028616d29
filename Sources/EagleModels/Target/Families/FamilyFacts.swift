import EagleTensor

/// What distinguishes the models of one `model_type`: the switches of their layers, the keys of their configs that set
/// them, and the names of their weights. `TargetFamily.facts` lists them; all arithmetic is `DecoderLayer`'s.
struct FamilyFacts: Sendable {
  // MARK: layers

  /// The names of the norms of a layer, without `.weight`.
  var norms = NormNames(beforeAttention: "input_layernorm", beforeFeedForward: "post_attention_layernorm")
  /// What is added to the weights of norms.
  var normOffset: Float = 0
  var queryKeyNorm = LayerShape.QueryKeyNorm.none
  /// Biases of the query, key and value projections, of the output projection, and of the feed-forward block.
  var queryKeyValueBias = Switch.off
  var outputBias = Switch.off
  var feedForwardBias = Switch.off
  /// Which projections are stored in one matrix: query, key and value; gate and up.
  var fusesQueryKeyValue = false
  var fusesGateAndUp = false
  var hasSinks = false
  /// Whether the pairs of the rotary embedding are neighbours.
  var hasInterleavedRotary = false
  /// Whether the activation is that of gpt-oss, which `hidden_act` does not name.
  var hasClippedSiLU = false
  /// Whether embeddings are multiplied by √H.
  var scalesEmbedding = false
  var multipliers = false
  /// The key of a number n whose scale of attention is 1 / √n.
  var attentionScalarKey: String?
  /// Whether the scores of attention may be capped, and whether logits may.
  var capsScores = false
  var capsLogits = false
  var experts: ExpertFacts?

  // MARK: types of layers

  /// Which layers have a window where `layer_types` is missing; nil for a family without windows.
  var window: WindowRule?
  /// How layers with a window rotate where the config does not say it for each type of layer.
  var windowRotary = WindowRotary.same
  /// Whether longrope is the only scaling of the rotary embedding, which older configs call `su` or `yarn`.
  var scalesByLongRoPEOnly = false
  /// Whether `no_rope_layers` names layers without a rotary embedding.
  var mayOmitRotary = false

  // MARK: config

  /// Values of keys that configs of this family leave out.
  var defaults: [String: any Sendable] = [:]
  /// Tokens of the tokenizer beyond the text model's vocabulary.
  var omittedTokens: Set<String> = []
  /// Whether the LM head is the embedding where `tie_word_embeddings` is missing.
  var isTiedByDefault = false

  /// The names of the norms of a layer; nil where there is none.
  struct NormNames: Sendable {
    var beforeAttention: String?
    var afterAttention: String?
    var beforeFeedForward: String?
    var afterFeedForward: String?

    var placement: LayerShape.NormPlacement {
      afterAttention == nil ? .before : beforeAttention == nil ? .after : .around
    }
  }

  /// A property that a family has never, always, or as a key of the config says.
  enum Switch: Sendable {
    case off
    case on
    case key(String, default: Bool = false)
  }

  enum WindowRule: Sendable {
    case all
    /// Where `use_sliding_window` is true: all layers.
    case allIfUsed
    /// Where `use_sliding_window` is true: the layers from `max_window_layers` on.
    case fromMaxWindowLayers
    /// Where `use_sliding_window` is true: the layers without a rotary embedding.
    case withoutRotary
    /// All but every n-th layer, or every n-th of the key's number.
    case allButEvery(Int, key: String? = nil)
  }

  enum WindowRotary: Sendable {
    /// As all layers.
    case same
    /// Without a scaling.
    case unscaled
    /// Without a scaling, with a base of its own.
    case unscaledTheta(key: String, default: Double)
  }

  /// The experts of a family.
  struct ExpertFacts: Sendable {
    /// The key of their number.
    var countKey: String
    /// The key of an expert's width.
    var sizeKey: String
    /// Whether the weights of a token's experts sum to 1.
    var isNormalized: Switch
    /// Whether `decoder_sparse_step` and `mlp_only_layers` name dense layers among the others.
    var hasDenseLayers = false
    var layout: Layout

    enum Layout: Sendable {
      /// A matrix each: `experts.0.gate_proj` and so on.
      case single(block: String, gate: String, up: String, down: String)
      /// All experts stacked, gate and up interleaved, with biases; bf16 or MXFP4 (gpt-oss).
      case stacked
    }
  }
}
