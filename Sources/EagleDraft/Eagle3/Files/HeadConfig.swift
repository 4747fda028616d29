import EagleCore
import EagleModels
import Foundation

/// The config of a head's folder, with all keys at one level in every layout.
struct HeadConfig {
  let file: ConfigFile
  let layout: HeadLayout

  /// - Throws: `LocatedError` that says what the folder is, unless it is an EAGLE-3 head
  init(folder: String) throws {
    let file = try ConfigFile(path: "\(folder)/config.json")
    if file.isSpeculators {
      (self.file, layout) = (try Self.flattened(file), .speculators)
    } else {
      try file.requireHead(isEagle3: Eagle3Shape.hasTensors(folder))
      (self.file, layout) = (file, .eagle3)
    }
  }

  /// The values of a key at the top level and in `eagle_config`, where it is present, with its name in messages.
  func stated(_ key: String) -> [(name: String, value: Any)] {
    [(key, file.values[key]), ("eagle_config.\(key)", file.table("eagle_config")?[key])].compactMap { name, value in
      value.flatMap { $0 is NSNull ? nil : (name, $0) }
    }
  }

  /// Merges the keys of the layer with those of the head. speculators omits layer keys with the default of their class.
  private static func flattened(_ file: ConfigFile) throws -> ConfigFile {
    let kind = file.values["speculators_model_type"] as? String ?? "eagle3"
    guard kind == "eagle3" else {
      throw LocatedError(
        path: file.path, problem: "is a draft model of the kind \"\(kind)\", which this program does not compute",
        advice: "use an EAGLE-3 head")
    }
    guard let layer = file.table("transformer_layer_config") else {
      throw LocatedError(
        path: file.path, problem: "`transformer_layer_config` is missing or not an object",
        advice: "download the head's config again")
    }
    var values = file.values.filter { !["transformer_layer_config", "speculators_config"].contains($0.key) }
    values.merge(layer) { $1 }
    let model = layer["model_type"] as? String ?? "qwen3"
    values["model_type"] = model
    values.merge(defaults[model] ?? [:]) { own, _ in own }
    return ConfigFile(path: file.path, values: values)
  }

  /// The defaults of transformers' config classes for missing keys.
  private static var defaults: [String: [String: Any]] {
    [
      "llama": [
        "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_attention_heads": 32,
        "rms_norm_eps": 1e-6, "max_position_embeddings": 2048,
      ],
      "qwen3": [
        "vocab_size": 151_936, "hidden_size": 4096, "intermediate_size": 22016, "num_attention_heads": 32,
        "num_key_value_heads": 32, "head_dim": 128, "rms_norm_eps": 1e-6, "max_position_embeddings": 32768,
      ],
    ]
  }
}

/// The kind of folder that a `config.json` belongs to.
extension ConfigFile {
  /// - Parameter isEagle3: whether the folder holds the tensors of an EAGLE-3 head
  /// - Throws: `LocatedError` that says what the folder is, unless it is a head in the layout of the EAGLE-3 release
  fileprivate func requireHead(isEagle3: Bool) throws {
    if isEagle3 || !isAbsent("draft_vocab_size") { return }
    guard let layers = try? integer("num_hidden_layers"), layers > 1 else {
      throw LocatedError(
        path: path,
        problem:
          "has no `draft_vocab_size`, and beside it there are no tensors of an EAGLE-3 head: a head of EAGLE-1 or "
          + "EAGLE-2, which this program does not compute",
        advice: "use an EAGLE-3 head")
    }
    throw LocatedError(
      path: path, problem: "is a whole model of \(layers) layers and no draft head: it has no `draft_vocab_size`",
      advice: "name the folder of an EAGLE-3 head; a target belongs to --target")
  }

  /// The classes that the weights were saved from.
  var architectures: [String] { values["architectures"] as? [String] ?? [] }

  fileprivate var isSpeculators: Bool {
    let keys = ["speculators_config", "speculators_model_type", "transformer_layer_config"]
    return keys.contains { !isAbsent($0) } || architectures.contains { $0.hasSuffix("Speculator") }
  }
}
