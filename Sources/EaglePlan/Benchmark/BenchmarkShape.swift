import EagleModels
import EagleTensor

/// Models whose shape is measured, with random weights: no model is needed.
package enum BenchmarkShape: String, CaseIterable, Sendable, Codable {
  case smollm2 = "smollm2-135m"
  case qwen3 = "qwen3-4b"

  /// - Parameter layers: another number of layers than the model has, for example 0 when only its head is wanted
  func target(layers: Int? = nil) -> TargetShape {
    switch self {
    case .smollm2:
      TargetShape(
        family: .llama, hiddenSize: 576, layers: layers ?? 30,
        attention: AttentionShape(heads: 9, kvHeads: 3, headDimension: 64), intermediateSize: 1536,
        vocabularySize: 49152, ropeTheta: 1e5, maxPositions: 8192)
    case .qwen3:
      TargetShape(
        family: .qwen3, hiddenSize: 2560, layers: layers ?? 36,
        attention: AttentionShape(heads: 32, kvHeads: 8, headDimension: 128), intermediateSize: 9728,
        vocabularySize: 151936, ropeTheta: 5e6, maxPositions: 262144)
    }
  }

  /// H.
  package var hiddenSize: Int { target().hiddenSize }

  /// V.
  package var vocabularySize: Int { target().vocabularySize }

  /// D of the recipe for this model.
  var draftVocabularySize: Int {
    switch self {
    case .smollm2: 16384
    case .qwen3: 32000
    }
  }

  func draft(vocabularySize: Int) -> DraftShape {
    var config = DraftConfig()
    config.vocabularySize = vocabularySize
    let target = target()
    return DraftShape(of: target, config, captureLayers: target.defaultCaptureLayers)
  }
}
