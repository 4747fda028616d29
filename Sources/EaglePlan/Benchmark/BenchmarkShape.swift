import EagleModels
import EagleTensor

/// Models whose shape is measured, with random weights: no model is needed.
package enum BenchmarkShape: String, CaseIterable, Sendable, Codable {
  case smollm2 = "smollm2-135m"
  case qwen3 = "qwen3-4b"
  case llama1B = "llama-3.2-1b"
  case qwen600M = "qwen3-0.6b"
  /// Eight layers of Qwen3-30B-A3B.
  case qwen3MoE = "qwen3-moe"

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
    case .llama1B:
      TargetShape(
        family: .llama, hiddenSize: 2048, layers: layers ?? 16,
        attention: AttentionShape(heads: 32, kvHeads: 8, headDimension: 64), intermediateSize: 8192,
        vocabularySize: 128256, ropeTheta: 5e5, maxPositions: 131_072,
        more: [
          "rope_scaling": [
            "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
          ] as [String: any Sendable]
        ])
    case .qwen600M:
      TargetShape(
        family: .qwen3, hiddenSize: 1024, layers: layers ?? 28,
        attention: AttentionShape(heads: 16, kvHeads: 8, headDimension: 128), intermediateSize: 3072,
        vocabularySize: 151936, ropeTheta: 1e6, maxPositions: 40960)
    case .qwen3MoE:
      TargetShape(
        family: .qwen3MoE, hiddenSize: 2048, layers: layers ?? 8,
        attention: AttentionShape(heads: 32, kvHeads: 4, headDimension: 128), intermediateSize: 6144,
        vocabularySize: 151936, ropeTheta: 1e6, maxPositions: 40960,
        more: [
          "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768, "norm_topk_prob": true,
        ])
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
    case .qwen3, .llama1B, .qwen600M, .qwen3MoE: 32000
    }
  }

  func draft(vocabularySize: Int) -> DraftShape {
    var config = DraftConfig()
    config.vocabularySize = vocabularySize
    let target = target()
    return DraftShape(of: target, config, captureLayers: target.defaultCaptureLayers)
  }
}
