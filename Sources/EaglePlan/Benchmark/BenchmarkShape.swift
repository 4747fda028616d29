import EagleDraft
import EagleModels
import EagleTensor
import Foundation

/// The shapes of models for benchmarks with random weights, so that no model is needed. Their configurations are in
/// `shapes.json`, which the Python tools read too.
package enum BenchmarkShape: String, CaseIterable, Sendable, Codable {
  case smollm2 = "smollm2-135m"
  case qwen3 = "qwen3-4b"
  case llama1B = "llama-3.2-1b"
  case qwen600M = "qwen3-0.6b"
  /// Eight layers of Qwen3-30B-A3B.
  case qwen3MoE = "qwen3-moe"
  case llama8B = "llama-3.1-8b"
  case qwen8B = "qwen3-8b"

  /// The entry of `shapes.json`.
  private var entry: (config: [String: Any], draftVocabularySize: Int) {
    let data = Data(PackageResources.shapes_json)
    guard let shapes = try? JSONSerialization.jsonObject(with: data) as? [String: [String: Any]],
      let config = shapes[rawValue]?["config"] as? [String: Any],
      let size = shapes[rawValue]?["draft_vocab_size"] as? Int
    else { preconditionFailure("shapes.json has no \(rawValue)") }
    return (config, size)
  }

  /// - Parameter layers: the number of layers, if it differs from the model's; for example 0 if only the LM head is
  ///   needed
  func target(layers: Int? = nil) -> TargetShape { TargetShape(config: entry.config, layers: layers) }

  /// H.
  package var hiddenSize: Int { target().hiddenSize }

  /// V.
  package var vocabularySize: Int { target().vocabularySize }

  /// D of the recipe for this model.
  var draftVocabularySize: Int { entry.draftVocabularySize }

  func draft(vocabularySize: Int) -> Eagle3Shape {
    var config = DraftConfig()
    config.vocabularySize = vocabularySize
    let target = target()
    return Eagle3Shape(of: target, config, captureLayers: target.defaultCaptureLayers)
  }
}
