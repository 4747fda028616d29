import EagleCore
import EagleTensor
import Foundation

// The keys of a target's config that concern the whole model.

extension ConfigFile {
  /// The family of a target and the keys of its text model, which a vision-language checkpoint nests in `text_config`.
  func family() throws -> (TargetFamily, ConfigFile) {
    let outer = try text("model_type")
    let file = nestedText(outer)
    let name = try file.text("model_type")
    guard let family = TargetFamily(rawValue: name) else {
      let known = TargetFamily.allCases.map(\.rawValue).joined(separator: ", ")
      let reason = TargetFamily.refused[name].map { ": \($0)" } ?? ""
      throw LocatedError(
        path: path, problem: "`model_type` is \"\(name)\", which is not computed\(reason)",
        advice: "these types are: \(known)")
    }
    var defaults: [String: Any] = family.facts.defaults
    if !file.isAbsent("rope_parameters") { defaults["rope_scaling"] = nil }
    return (family, ConfigFile(path: path, values: defaults.merging(file.values) { $1 }))
  }

  private func nestedText(_ outer: String) -> ConfigFile {
    guard var inner = values["text_config"] as? [String: Any] else { return self }
    if inner["model_type"] == nil { inner["model_type"] = "\(outer)_text" }
    for key in ["bos_token_id", "eos_token_id", "pad_token_id", "tie_word_embeddings", "quantization_config"] {
      if inner[key] == nil { inner[key] = values[key] }
    }
    return ConfigFile(path: path, values: inner)
  }

  /// Throws, by name, for what no layer of the family computes.
  func refuseUncomputed(_ facts: FamilyFacts) throws {
    if !isAbsent("quantization_config") {
      let method = (values["quantization_config"] as? [String: Any])?["quant_method"] as? String
      guard case .stacked = facts.experts?.layout, method == "mxfp4" else {
        throw refuse("quantised weights (`quantization_config`)")
      }
    }
    if facts.experts == nil {
      for key in ["num_experts", "num_local_experts", "n_routed_experts"] where !isAbsent(key) {
        throw refuse("a mixture of experts (`\(key)`)")
      }
    }
    if facts.window == nil, !isAbsent("sliding_window"), isAbsent("use_sliding_window") || flag("use_sliding_window") {
      throw refuse("a sliding attention window (`sliding_window`)")
    }
    let biases: [(String, FamilyFacts.Switch)] = [
      ("attention_bias", facts.queryKeyValueBias), ("mlp_bias", facts.feedForwardBias),
    ]
    for (key, fact) in biases where flag(key) {
      if case .off = fact { throw refuse("biases (`\(key)`)") }
    }
    for key in ["use_bidirectional_attention", "clip_qkv"] where flag(key) { throw refuse("`\(key)`") }
  }

  /// The longest sequence: `max_position_embeddings`, or less where longer sequences have another rotary embedding.
  func maxPositions(_ layers: [LayerShape], context: Int?) throws -> Int {
    let largest = try integer("max_position_embeddings")
    let scalings = layers.compactMap { $0.rotary?.scaling }
    guard let short = scalings.compactMap(\.shortLength).min() else { return min(largest, context ?? largest) }
    let stretched = scalings.map {
      if case .dynamic(let factor, let n) = $0 { Int(min(factor * Double(n), 0x1p30)) } else { largest }
    }
    return min(context ?? short, stretched.max() ?? largest)
  }

  /// A number that multiplies or divides, 1 where it is missing.
  func multiplier(_ key: String) throws -> Float {
    let value = isAbsent(key) ? 1 : Float(try number(key))
    guard value.isFinite, value != 0 else { throw wrong(key, "must be a number other than 0") }
    return value
  }

  /// The cap of scores or logits; nil for none.
  func softcap(_ key: String) throws -> Float? {
    guard !isAbsent(key) else { return nil }
    let cap = Float(try number(key))
    guard cap > 0, cap.isFinite else { throw wrong(key, "must be above 0") }
    return cap
  }

  /// Whether a switch of the family is on.
  func isOn(_ fact: FamilyFacts.Switch) -> Bool {
    switch fact {
    case .off: false
    case .on: true
    case .key(let key, let standard): isAbsent(key) ? standard : flag(key)
    }
  }
}
