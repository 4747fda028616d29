import EagleCaptureStore
import EagleCore
import EagleDraft
import EagleModels
import EagleRunFiles
import EagleStorage
import EagleTensor
import EagleTraining
import Foundation
import Testing

/// The path of store, weights and PyTorch's results, from `scripts/oracles`; without it the test is skipped.
private let reference = ProcessInfo.processInfo.environment["EAGLE_STEP_REFERENCE"]
private let targetFolder = ProcessInfo.processInfo.environment["EAGLE_TARGET"]

/// Compares one training step on a real store in float32 with PyTorch (`Tools/oracles/draft_step.py`).
@Suite(.enabled(if: reference != nil && targetFolder != nil)) struct StepParityTests {
  private struct Step: Decodable {
    let loss: Double
    let loss_per_step, rows, accuracy, acceptance: [Double]
    let ttt_length, conversations: Int
    let step_decay: Double
  }

  @Test("loss, metrics and gradients of a real step agree with PyTorch") func lossAndGradients() throws {
    let path = try #require(reference)
    let target = try TargetModel(folder: try #require(targetFolder))
    let expected = try JSONDecoder().decode(
      Step.self, from: Data(contentsOf: URL(fileURLWithPath: "\(path)/out/step.json")))
    let draft = try draft("\(path)/weights.safetensors", target.shape)
    let objective = draft.objective(
      tables: TargetTables(embedding: target.embedding),
      teacher: Teacher(target: target, vocabulary: draft.vocabulary, precision: .fp32),
      settings: ObjectiveSettings(
        tttLength: expected.ttt_length, stepDecay: expected.step_decay, precision: .fp32))
    let shard = try CaptureShard(path: "\(path)/store/shard-00000.h5")
    let conversations = try (0..<expected.conversations).map { try shard.read(conversation: $0) }
    let sums = objective.run(conversations, globalRows: expected.rows, recording: true)
    let weights = sums.indices.map { k in pow(expected.step_decay, Double(k)) }
    let metrics = ObjectiveMetrics(sums, weights: weights)
    let lossError = abs(metrics.loss - expected.loss) / expected.loss
    print("loss \(metrics.loss), PyTorch \(expected.loss), relative difference \(lossError)")
    #expect(lossError < 1e-5 && sums.map(\.rows) == expected.rows)
    for k in sums.indices {
      #expect(abs(metrics.accuracy[k] - expected.accuracy[k]) < 1e-9)
      #expect(abs(metrics.acceptance[k] - expected.acceptance[k]) < 1e-5)
    }
    try compare(draft, SafetensorsFile(path: "\(path)/out/gradients.safetensors"))
  }

  private func draft(_ path: String, _ target: TargetShape) throws -> DraftModel {
    let file = try SafetensorsFile(path: path)
    let ids = try file.tensor("d2t").buffer(Int64.self).enumerated().map { Int32($0.offset) + Int32($0.element) }
    var config = DraftConfig()
    config.vocabularySize = ids.count
    let shape = Eagle3Shape(of: target, config, captureLayers: target.defaultCaptureLayers)
    var tensors: [String: Tensor] = [:]
    for (name, _) in shape.tensorShapes { tensors[name] = try file.tensor(name).float32() }
    return DraftModel(
      shape: shape, vocabulary: DraftVocabulary(targetIDs: ids, targetSize: target.vocabularySize), tensors: tensors,
      trainable: true)
  }

  private func compare(_ draft: DraftModel, _ file: SafetensorsFile) throws {
    var worst = 0.0
    for parameter in draft.parameters {
      let stored = try file.tensor(parameter.name)
      let reference = stored.dtype == .float32 ? stored.values.map(Double.init) : []
      let ours = parameter.variable.gradient!.values
      #expect(reference.count == ours.count, "\(parameter.name)")
      let difference = zip(ours, reference).reduce(0.0) { $0 + (Double($1.0) - $1.1) * (Double($1.0) - $1.1) }
      let error = (difference / reference.reduce(0.0) { $0 + $1 * $1 }).squareRoot()
      print("gradient of \(parameter.name): relative difference \(error)")
      #expect(error < 1e-4, "\(parameter.name)")
      worst = max(worst, error)
    }
    print("largest: \(worst)")
  }
}
