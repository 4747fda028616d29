import EagleCore
import Foundation

/// A key of a head's config that changes what is computed, and the value with which it changes nothing.
///
/// A variant that is computed one day leaves this list and becomes a property of `DraftShape`. Keys that are not here
/// are taken to say nothing about numerics.
struct HeadSwitch: Sendable {
  let key: String
  /// The variant that another value asks for, as the message names it.
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
      flag("norm_before_residual", false, "a residual of normed states"),
      flag("norm_before_fc", false, "a norm over the captured states before `fc`"),
      flag("fc_norm", false, "a norm of each captured state before `fc`"),
      flag("use_aux_hidden_state", true, "a head that reads the target's last hidden state alone"),
      number("num_aux_hidden_states", 3, "another number of captured states than three"),
      flag("parallel_drafting", false, "drafting several tokens in one pass"),
      number("parallel_draft_step", 1, "drafting several tokens in one pass"),
      flag("use_input_layernorm_in_first_layer", true, "an embedding without its norm"),
      flag("use_last_layernorm", true, "an LM head without its norm"),
      flag("use_mtp_layernorm", false, "norms of multi-token prediction"),
      HeadSwitch(key: "target_hidden_size", variant: "captured states of another width than the head's") {
        ($0 as? NSNumber) == ($1.values["hidden_size"] as? NSNumber)
      },
      number("num_hidden_layers", 1, "another number of layers than one"),
      HeadSwitch(key: "layer_types", variant: "layers without full attention") { value, _ in
        (value as? [String])?.allSatisfy { $0 == "full_attention" } ?? false
      },
      HeadSwitch(key: "model_type", variant: "a layer that is not Llama's") { value, _ in value as? String == "llama" },
    ] + scales

  /// The multipliers, caps and norms of other families.
  private static let scales: [HeadSwitch] = [
    flag("use_qk_norm", false, "norms of q and k"), flag("qk_norm", false, "norms of q and k"),
    number("embedding_multiplier", 1, "a scaled embedding"), number("scale_emb", 1, "a scaled embedding"),
    number("embedding_scale", 1, "a scaled embedding"), number("residual_multiplier", 1, "a scaled residual"),
    absent("attention_multiplier", "a scale of attention of its own"),
    absent("query_pre_attn_scalar", "a scale of attention of its own"),
    absent("attn_logit_softcapping", "capped attention scores"), absent("final_logit_softcapping", "capped logits"),
    number("logit_scale", 1, "scaled logits"), number("logits_scaling", 1, "scaled logits"),
  ]
}

extension ConfigFile {
  /// Refuses by name the variants of a head that nothing here computes.
  func refuseHeadVariants() throws {
    for prefix in ["", "eagle_config."] {
      let table = prefix.isEmpty ? values : table("eagle_config") ?? [:]
      for known in HeadSwitch.all {
        guard let value = table[known.key], !(value is NSNull), !known.isPlain(value, self) else { continue }
        throw refuse("\(prefix)\(known.key)", value, known.variant)
      }
    }
    try refuseNormOutput()
    try refuseUntypedScaling()
  }

  /// `norm_output: true` is plain EAGLE-3 in SpecForge's layout, and feeds the normed state back in that of
  /// speculators. The class that wrote a head decides which layout it has.
  private func refuseNormOutput() throws {
    for value in [values["norm_output"], table("eagle_config")?["norm_output"]] {
      guard let value, !(value is NSNull) else { continue }
      guard architectures.contains("LlamaForCausalLMEagle3") else {
        throw LocatedError(
          path: path,
          problem:
            "`norm_output` has two meanings, and `architectures` \(architectures) does not tell which one is meant: "
            + "true is plain EAGLE-3 (SpecForge), or feeds the normed state to the next step (speculators, vLLM)",
          advice: "ask the head's author; for plain EAGLE-3 remove the key")
      }
      if (value as? NSNumber)?.boolValue != true { throw refuse("norm_output", value, "an LM head without its norm") }
    }
  }

  /// Refuses a factor without a type, and parameters for each type of layer.
  private func refuseUntypedScaling() throws {
    for key in ["rope_scaling", "rope_parameters"] {
      guard let scaling = table(key) else { continue }
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
      path: path, problem: "`\(key)` is \(text), which asks for \(variant): this program does not compute that",
      advice: "use a head of plain EAGLE-3")
  }

  private static func isBool(_ number: NSNumber) -> Bool { String(cString: number.objCType) == "c" }
}
