import EagleDraft
import EagleModels

/// One head for each switch, and one with all compatible switches.
struct HeadVariant: CustomStringConvertible, Sendable {
  let name: String
  let layers: [Int]
  /// The reason why a GGUF file cannot store it; nil if it can.
  let missingInGGUF: String?
  /// Whether only speculators' layout has keys for it.
  let needsSpeculators: Bool
  private let change: @Sendable (inout DraftConfig) -> Void

  init(
    _ name: String, layers: [Int] = [0, 1, 2], missingInGGUF: String? = nil, needsSpeculators: Bool = false,
    _ change: @escaping @Sendable (inout DraftConfig) -> Void
  ) {
    (self.name, self.layers, self.missingInGGUF) = (name, layers, missingInGGUF)
    (self.needsSpeculators, self.change) = (needsSpeculators, change)
  }

  var description: String { name }

  /// Whether it is written in speculators' layout unless another one is asked for.
  var prefersSpeculators: Bool { needsSpeculators || config.layers ?? 1 > 1 }

  var config: DraftConfig {
    var config = DraftConfig()
    config.vocabularySize = 24
    change(&config)
    return config
  }

  func draft(of target: TargetModel, seed: UInt64 = 1) -> DraftModel {
    let shape = Eagle3Shape(of: target.shape, config, captureLayers: layers)
    let counts = (0..<target.shape.vocabularySize).map { ($0 * 13) % 17 }
    return DraftModel.random(
      shape: shape, vocabulary: .mostFrequent(counts: counts, size: shape.draftVocabularySize, always: [3]), seed: seed)
  }

  static let all: [HeadVariant] = [
    HeadVariant("norm_before_fc") { $0.normBeforeFC = true },
    HeadVariant("fc_norm", missingInGGUF: "fc_norm") { $0.fcNorm = true },
    HeadVariant("norm_output", missingInGGUF: "norm_output", needsSpeculators: true) { $0.normOutput = true },
    HeadVariant("EAGLE-3.1", missingInGGUF: "norm_output", needsSpeculators: true) {
      ($0.normBeforeFC, $0.normOutput) = (true, true)
    },
    HeadVariant("norm_before_residual") { $0.normBeforeResidual = true },
    HeadVariant("qk_norm", missingInGGUF: "qk_norm", needsSpeculators: true) { $0.qkNorm = true },
    HeadVariant("one layer", layers: [2], missingInGGUF: "1 captured layer") { _ in },
    HeadVariant("four layers", layers: [0, 1, 2, 3], missingInGGUF: "4 captured layers") { _ in },
    HeadVariant("two layers in the head", missingInGGUF: "2 layers") { $0.layers = 2 },
    HeadVariant("window", missingInGGUF: "window") { $0.slidingWindow = 64 },
    HeadVariant("whole vocabulary") { $0.vocabularySize = nil },
    HeadVariant("the target's LM head") { ($0.vocabularySize, $0.lmHead) = (nil, .target) },
    HeadVariant("own embedding") { $0.embedding = .own },
    HeadVariant("narrow") { ($0.hiddenSize, $0.embedding) = (16, .own) },
    HeadVariant("all", layers: [0, 1, 2, 3], missingInGGUF: "fc_norm", needsSpeculators: true) {
      ($0.fcNorm, $0.normOutput, $0.normBeforeResidual, $0.qkNorm) = (true, true, true, true)
      ($0.slidingWindow, $0.hiddenSize, $0.embedding, $0.vocabularySize) = (70, 16, .own, nil)
      $0.layers = 3
    },
  ]
}
