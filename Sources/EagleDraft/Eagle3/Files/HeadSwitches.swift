import EagleCore
import EagleModels
import Foundation

/// A key of a head's config that changes what is computed, and the value that changes nothing.
///
/// A variant that is computed is a property of `Eagle3Variant` and not in this list. All other keys are assumed not to
/// affect the numerics.
struct HeadSwitch: Sendable {
  let key: String
  /// The variant that another value selects, as the message names it.
  let variant: String
  /// Whether this value is that of plain EAGLE-3.
  let isPlain: @Sendable (_ value: Any, _ file: ConfigFile) -> Bool

  /// A switch that is plain when it is `value`.
  private static func flag(_ key: String, _ value: Bool, _ variant: String) -> HeadSwitch {
    HeadSwitch(key: key, variant: variant) { found, _ in (found as? NSNumber)?.boolValue == value }
  }

  private static func number(_ key: String, _ value: Double, _ variant: String) -> HeadSwitch {
    HeadSwitch(key: key, variant: variant) { found, _ in (found as? NSNumber)?.doubleValue == value }
  }

  /// A switch that is plain only when it is absent or null.
  private static func absent(_ key: String, _ variant: String) -> HeadSwitch {
    HeadSwitch(key: key, variant: variant) { _, _ in false }
  }

  /// All switches. They are looked for at the top level and in `eagle_config`.
  static let all: [HeadSwitch] =
    [
      flag("use_aux_hidden_state", true, "a head that reads the target's last hidden state alone"),
      flag("parallel_drafting", false, "drafting several tokens in one pass"),
      number("parallel_draft_step", 1, "drafting several tokens in one pass"),
      flag("use_input_layernorm_in_first_layer", true, "an embedding without its norm"),
      flag("use_last_layernorm", true, "an LM head without its norm"),
      flag("use_mtp_layernorm", false, "norms of multi-token prediction"),
      HeadSwitch(key: "model_type", variant: "a layer that is neither Llama's nor Qwen3's") { value, _ in
        ["llama", "qwen3"].contains(value as? String)
      },
    ] + scales

  /// The multipliers and caps of other families.
  private static let scales: [HeadSwitch] = [
    number("embedding_multiplier", 1, "a scaled embedding"), number("scale_emb", 1, "a scaled embedding"),
    number("embedding_scale", 1, "a scaled embedding"), number("residual_multiplier", 1, "a scaled residual"),
    absent("attention_multiplier", "a scale of attention of its own"),
    absent("query_pre_attn_scalar", "a scale of attention of its own"),
    absent("attn_logit_softcapping", "capped attention scores"), absent("final_logit_softcapping", "capped logits"),
    number("logit_scale", 1, "scaled logits"), number("logits_scaling", 1, "scaled logits"),
  ]
}

extension HeadConfig {
  /// Rejects, by name, the variants of a head that this program does not compute.
  func refuseVariants() throws {
    for prefix in ["", "eagle_config."] {
      let table = prefix.isEmpty ? file.values : file.table("eagle_config") ?? [:]
      for known in HeadSwitch.all {
        guard let value = table[known.key], !(value is NSNull), !known.isPlain(value, file) else { continue }
        throw refuse("\(prefix)\(known.key)", value, known.variant)
      }
    }
    try refuseUntypedScaling()
  }

  /// The switches that the config and the tensors of a head turn on. Which embedding it reads is determined later.
  ///
  /// - Parameters:
  ///   - hidden: the head's hidden size
  ///   - width: that of the captured states
  ///   - tensors: the names of the head's tensors; those of the first layer without its prefix
  func variant(hidden: Int, width: Int, tensors: Set<String>) throws -> Eagle3Variant {
    var variant = Eagle3Variant()
    let (joint, perState) = (try flag("norm_before_fc"), try flag("fc_norm"))
    guard !(joint && perState) else {
      throw LocatedError(
        path: file.path, problem: "`norm_before_fc` and `fc_norm` exclude each other, and both are true",
        advice: "ask the head's author which one it has")
    }
    variant.featureNorm = joint ? .joint : perState ? .perState : .none
    variant.normsResidual = try flag("norm_before_residual")
    variant.feedsNormedState = try feedsNormedState()
    variant.normsQueryKey =
      try flag("use_qk_norm") || flag("qk_norm") || file.values["model_type"] as? String == "qwen3"
      || tensors.contains("self_attn.q_norm.weight")
    variant.window = try window(layers: layers(tensors: tensors))
    variant.embedding = try flag(HeadEmbedding.key) ? .own : .target
    variant.lmHead = try lmHead(tensors)
    if hidden != width { variant.targetHiddenSize = width }
    return variant
  }

  /// The number of decoder layers: those that the head has tensors of. The config must say the same, or nothing.
  ///
  /// - Parameter tensors: as in `variant`
  func layers(tensors: Set<String>) throws -> Int {
    guard
      let count = (1...DraftLayer.most).first(where: { layer in !tensors.contains { $0.hasPrefix("layers.\(layer).") } }
      )
    else {
      throw LocatedError(
        path: file.path, problem: "the head has more than \(DraftLayer.most) layers",
        advice: "use a head of at most \(DraftLayer.most) layers")
    }
    for (name, value) in stated("num_hidden_layers") where (value as? NSNumber)?.doubleValue != Double(count) {
      throw LocatedError(
        path: file.path, problem: "`\(name)` is \(value), and there are tensors of \(Format.count(count, "layer"))",
        advice: "copy the head again, or ask its author for the number of its layers")
    }
    return count
  }

  /// A head over the whole vocabulary may leave its LM head to the target.
  private func lmHead(_ tensors: Set<String>) throws -> DraftTable {
    let size = try file.integerIfPresent("draft_vocab_size")
    let isWhole = try size == nil || size == file.integer("vocab_size")
    guard isWhole, !tensors.contains(Eagle3Tensors.lmHead) else { return .own }
    if file.flag("tie_word_embeddings"), tensors.contains(Eagle3Tensors.embedding) {
      throw refuse("tie_word_embeddings", true, "an LM head that is the head's own embedding")
    }
    return .target
  }

  /// A switch at the top level or in `eagle_config`; false where it is in neither.
  private func flag(_ key: String) throws -> Bool {
    guard let (name, value) = stated(key).first else { return false }
    guard let number = value as? NSNumber, Self.isBool(number) else {
      throw LocatedError(
        path: file.path, problem: "`\(name)` is \(value), and must be true or false",
        advice: "ask the head's author which one is meant")
    }
    return number.boolValue
  }

  /// `norm_output: true` is plain EAGLE-3 in SpecForge's layout, and feeds the normed state back in that of
  /// speculators. The class that wrote a head decides which layout it has.
  private func feedsNormedState() throws -> Bool {
    if layout == .speculators { return try flag("norm_output") }
    for (_, value) in stated("norm_output") {
      guard file.architectures.contains("LlamaForCausalLMEagle3") else {
        throw LocatedError(
          path: file.path,
          problem:
            "`norm_output` has two meanings, and `architectures` \(file.architectures) does not tell which one is meant: "
            + "true is plain EAGLE-3 (SpecForge), or feeds the normed state to the next step (speculators, vLLM)",
          advice: "ask the head's author; for plain EAGLE-3 remove the key")
      }
      if (value as? NSNumber)?.boolValue != true { throw refuse("norm_output", value, "an LM head without its norm") }
      // EAGLE-3.1 heads of this layout have both, and readers differ in what they mean.
      if try flag("norm_before_fc") || flag("fc_norm") {
        throw LocatedError(
          path: file.path,
          problem:
            "`norm_output` has two meanings beside a norm before `fc`: that of EAGLE-3 (SpecForge), or feeding the "
            + "normed state to the next step (vLLM)",
          advice: "ask the head's author: for the former remove the key, for the latter take speculators' layout")
      }
    }
    return false
  }

  /// The number of keys that a row sees; nil for all. The types of the layers decide or, without types, the flag
  /// `use_sliding_window`; without that flag transformers also drops the window of a Qwen3 layer. A number alone may be
  /// a leftover of the target's config.
  private func window(layers: Int) throws -> Int? {
    let isQwen = file.values["model_type"] as? String == "qwen3"
    if let types = file.values["layer_types"], !(types is NSNull) {
      let named = types as? [String] ?? []
      guard named.count == layers, let type = named.first, Set(named).count == 1 else {
        throw refuse("layer_types", types, "\(Format.count(layers, "layer")) that are not all of one type")
      }
      switch type {
      case "full_attention": return nil
      case "sliding_attention":
        return isQwen && !file.flag("use_sliding_window") ? nil : try file.integer("sliding_window")
      default: throw refuse("layer_types", types, "a layer that is neither full nor sliding attention")
      }
    }
    if file.flag("use_sliding_window") { return try file.integer("sliding_window") }
    guard !isQwen, file.isAbsent("use_sliding_window"), !file.isAbsent("sliding_window") else { return nil }
    throw refuse(
      "sliding_window", file.values["sliding_window"] ?? 0,
      "a window, and neither `layer_types` nor `use_sliding_window` says that it has one")
  }

  /// Rejects a factor without a type, and parameters for each type of layer.
  private func refuseUntypedScaling() throws {
    for key in ["rope_scaling", "rope_parameters"] {
      guard let scaling = file.table(key) else { continue }
      let factor = (scaling["factor"] as? NSNumber)?.doubleValue ?? 1
      if factor != 1, scaling["rope_type"] == nil, scaling["type"] == nil {
        throw refuse("\(key).factor", factor, "a scaled rotary embedding of no type")
      }
      let partial = (scaling["partial_rotary_factor"] as? NSNumber)?.doubleValue ?? 1
      if partial != 1 { throw refuse("\(key).partial_rotary_factor", partial, "a partial rotary embedding") }
      if let inner = scaling.first(where: { $0.value is [String: Any] }) {
        throw refuse("\(key).\(inner.key)", "an object", "a rotary embedding for each type of layer")
      }
    }
  }

  private func refuse(_ key: String, _ value: Any, _ variant: String) -> LocatedError {
    let text = (value as? NSNumber).map { Self.isBool($0) ? "\($0.boolValue)" : "\($0)" } ?? "\(value)"
    return LocatedError(
      path: file.path, problem: "`\(key)` is \(text), which asks for \(variant): this program does not compute that",
      advice: "use an EAGLE-3 head of a kind in docs/guide/eagle3.md")
  }

  private static func isBool(_ number: NSNumber) -> Bool { String(cString: number.objCType) == "c" }
}
