import EagleCore
import EagleStorage

/// Metadata that changes what a layer computes, with the families for which it is read.
enum GGUFSwitches {
  private static let readers: [String: Set<TargetFamily>] = [
    "attention.sliding_window": [.phi3, .gemma2, .gemma3, .olmo3, .gptOSS],
    "attention.scale": [.granite],
    "embedding_scale": [.granite],
    "residual_scale": [.granite],
    "logit_scale": [.granite],
    "attn_logit_softcapping": [.gemma2],
    "final_logit_softcapping": [.gemma2, .gemma3],
    "attention.temperature_scale": [.ministral3],
    "attention.clamp_kqv": [],
    "expert_shared_count": [],
    "expert_weights_scale": [],
    "expert_group_count": [],
    "nextn_predict_layers": [],
  ]

  /// Throws, by name, for a switch that is on and that the family does not have.
  static func check(_ file: GGUFFile, _ sizes: GGUFModelSizes) throws {
    let keys = GGUFKeys(file: file, prefix: sizes.architecture.rawValue)
    for (key, families) in readers.sorted(by: { $0.key < $1.key }) where !families.contains(sizes.family) {
      guard let value = file.metadata[keys.name(key)] else { continue }
      guard value.float != 0, value.int != 0 else { continue }
      throw LocatedError(
        path: file.path, problem: "the model uses `\(keys.name(key))`, which is not supported",
        advice: "take another variant of the model")
    }
    let rotates = keys.name("rope.scaling.finetuned")
    if sizes.family == .granite, file.contains(key: rotates), try !file.bool(rotates) {
      throw LocatedError(
        path: file.path, problem: "`\(rotates)` is false: layers without rotary positions are not supported",
        advice: "take another variant of the model")
    }
  }
}
