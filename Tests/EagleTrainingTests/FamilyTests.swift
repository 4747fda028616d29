import EagleCaptureStore
import EagleCluster
import EagleCore
import EagleData
import EagleDraft
import EagleModels
import EagleTensor
import EagleText
import EagleTraining
import Foundation
import Testing

/// Capture, training and export for a tiny target of each family.
@Suite struct FamilyTests {
  private static let fixtures: String = {
    let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    return tests.appendingPathComponent("Fixtures").path
  }()

  /// The first tiny model of each family.
  private static let names: [String] = {
    let all = ((try? FileManager.default.contentsOfDirectory(atPath: fixtures)) ?? []).filter { $0.hasPrefix("tiny-") }
    let families = all.sorted().map { (name: $0, family: try? TargetShape(folder: "\(fixtures)/\($0)").family) }
    return TargetFamily.allCases.compactMap { family in families.first { $0.family == family }?.name }
  }()

  @Test("every family has a tiny model")
  func coverage() { #expect(Self.names.count == TargetFamily.allCases.count) }

  @Test("a head learns from captured states, is exported, and loads with its target", arguments: names)
  func headOfEachFamily(name: String) throws {
    // Heads and captured states are kept in EAGLE_FAMILY_HEADS, for oracles.
    let kept = ProcessInfo.processInfo.environment["EAGLE_FAMILY_HEADS"].map { "\($0)/\(name)" }
    let folder = kept ?? NSTemporaryDirectory() + "/eagle-family-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: "\(folder)/run", withIntermediateDirectories: true)
    defer { if kept == nil { try? FileManager.default.removeItem(atPath: folder) } }
    let target = try TargetModel(folder: "\(Self.fixtures)/\(name)")
    let data = try TinyCapture.prepared(folder, target)
    let store = try TinyCapture.captured(folder, target, data, layers: [0, 1, 2])
    try expectFacts(of: store, from: target)

    var (train, draft) = (TrainConfig(), DraftConfig())
    (train.epochs, train.tttLength, train.tokensPerBatch, train.learningRate) = (20, 2, 40, 1e-2)
    (train.precision, train.warmupRatio, draft.vocabularySize) = (.fp32, 0, 40)
    let start = DraftModel.random(
      shape: Eagle3Shape(of: target.shape, draft, captureLayers: [0, 1, 2]), vocabulary: data.vocabulary, seed: 2)
    let inputs = TrainingInputs(
      config: train, states: .store(store), target: target, trained: Array(0..<10), heldOut: [10, 11])
    let run = try TrainingRun(
      inputs, start: start, output: "\(folder)/run", cluster: SoloCommunicator(), progress: SilentProgress(),
      stop: StopRequest())
    for epoch in 0..<20 { try run.train(epoch: epoch) }
    let losses = try TinyCapture.losses(of: "\(folder)/run")
    let epoch = losses.count / 20
    let (first, last) = (losses.prefix(epoch).reduce(0, +), losses.suffix(epoch).reduce(0, +))
    #expect(epoch > 0 && last < 0.95 * first, "\(losses)")

    try DraftFolder.write(run.optimizer.draft, target: target.shape, to: "\(folder)/head")
    let head = try DraftFolder.read("\(folder)/head", target: target)
    #expect(head.parameters.map(\.name) == run.optimizer.draft.parameters.map(\.name))
  }

  /// Argmax and log-sum-exp in the store are those of the target's own logits.
  private func expectFacts(of store: CaptureStore, from target: TargetModel) throws {
    let conversation = try store.read(conversation: 3)
    let logits = target.logits(conversation.lastHidden.float32())
    let argmax = try #require(conversation.teacherArgmax)
    let logSums = try #require(conversation.teacherLogSum)
    #expect(argmax.map(Int.init) == logits.argmax())
    for row in 0..<logits.rows {
      let expected = log(logits.slice(row..<row + 1).values.reduce(0.0) { $0 + exp(Double($1)) })
      // because: float32 logits from two kinds of GEMMs
      #expect(abs(Double(logSums[row]) - expected) < 1e-4 * (1 + abs(expected)))
    }
  }
}
