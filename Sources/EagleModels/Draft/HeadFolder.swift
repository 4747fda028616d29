import EagleCore
import Foundation

/// The kind of folder that a `config.json` belongs to.
extension ConfigFile {
  /// - Throws: `LocatedError` that says what the folder is, unless it is a head in the layout of the EAGLE-3 release
  func requireHead() throws {
    if isSpeculators {
      throw LocatedError(
        path: path, problem: "is a head in speculators' format, which this program does not read",
        advice: "use a head with the config of the EAGLE-3 release (`LlamaForCausalLMEagle3`)")
    }
    if !isAbsent("draft_vocab_size") { return }
    guard let layers = try? integer("num_hidden_layers"), layers > 1 else {
      throw LocatedError(
        path: path,
        problem:
          "has no `draft_vocab_size`: a head without a draft vocabulary, or of EAGLE-1 or EAGLE-2, which this program "
          + "does not compute",
        advice: "use an EAGLE-3 head")
    }
    throw LocatedError(
      path: path, problem: "is a whole model of \(layers) layers and no draft head: it has no `draft_vocab_size`",
      advice: "name the folder of an EAGLE-3 head; a target belongs to --target")
  }

  /// The classes that the weights were saved from.
  var architectures: [String] { values["architectures"] as? [String] ?? [] }

  private var isSpeculators: Bool {
    let keys = ["speculators_config", "speculators_model_type", "transformer_layer_config"]
    return keys.contains { !isAbsent($0) } || architectures.contains { $0.hasSuffix("Speculator") }
  }
}
