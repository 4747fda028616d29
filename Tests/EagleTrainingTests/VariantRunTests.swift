import EagleCaptureStore
import EagleCluster
import EagleCore
import EagleData
import EagleDraft
import EagleModels
import EagleStorage
import EagleText
import EagleTraining
import Foundation
import Testing

/// Capture, training, export and reading of a head of each variant.
@Suite struct VariantRunTests {
  private struct Case: CustomTestStringConvertible, Sendable {
    let name: String
    var layers = [0, 1, 2]
    let change: @Sendable (inout DraftConfig) -> Void

    var testDescription: String { name }
  }

  private static let cases = [
    Case(name: "norm_before_fc") { $0.normBeforeFC = true }, Case(name: "fc_norm") { $0.fcNorm = true },
    Case(name: "norm_output") { $0.normOutput = true },
    Case(name: "eagle-3.1") { ($0.normBeforeFC, $0.normOutput) = (true, true) },
    Case(name: "norm_before_residual") { $0.normBeforeResidual = true }, Case(name: "qk_norm") { $0.qkNorm = true },
    Case(name: "one-layer", layers: [2]) { _ in }, Case(name: "four-layers", layers: [0, 1, 2, 3]) { _ in },
    Case(name: "two-layers") { $0.layers = 2 },
    Case(name: "sliding_window") { $0.slidingWindow = 64 },
    Case(name: "whole-vocabulary") { ($0.vocabularySize, $0.lmHead) = (nil, .target) },
    Case(name: "own-embedding") { $0.embedding = .own },
    Case(name: "narrow") { ($0.hiddenSize, $0.embedding) = (16, .own) },
    Case(name: "all", layers: [0, 1, 2, 3]) {
      ($0.fcNorm, $0.normOutput, $0.normBeforeResidual, $0.qkNorm) = (true, true, true, true)
      ($0.slidingWindow, $0.embedding, $0.layers) = (70, .own, 3)
    },
    Case(name: "dspark", layers: [0, 1, 2, 3]) {
      ($0.architecture, $0.layers, $0.blockSize, $0.markovRank) = (.dspark, 2, 4, 8)
    },
    Case(name: "dspark-whole-vocabulary") {
      ($0.architecture, $0.layers, $0.blockSize, $0.markovRank, $0.vocabularySize) = (.dspark, 1, 3, 8, nil)
    },
    Case(name: "dflash") { ($0.architecture, $0.layers, $0.blockSize) = (.dflash, 2, 4) },
  ]

  @Test("a head of each variant learns, is exported and read back", arguments: cases)
  private func run(_ variant: Case) throws {
    // Heads and captured states are kept in EAGLE_VARIANT_HEADS, for oracles.
    let kept = ProcessInfo.processInfo.environment["EAGLE_VARIANT_HEADS"].map { "\($0)/\(variant.name)" }
    let folder = kept ?? NSTemporaryDirectory() + "/eagle-variant-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: "\(folder)/run", withIntermediateDirectories: true)
    defer { if kept == nil { try? FileManager.default.removeItem(atPath: folder) } }
    let target = try TinyCapture.target("tiny-llama")
    let data = try TinyCapture.prepared(folder, target)
    let store = try TinyCapture.captured(folder, target, data, layers: variant.layers)

    var (train, draft) = (TrainConfig(), DraftConfig())
    (train.epochs, train.tttLength, train.tokensPerBatch, train.learningRate) = (20, 2, 40, 1e-2)
    (train.precision, train.warmupRatio, draft.vocabularySize) = (.fp32, 0, 40)
    train.featureRates = .bySize
    variant.change(&draft)
    try draft.validate()
    try draft.requireFit(target.shape)
    var shape = draft.shape(of: target.shape, captureLayers: variant.layers)
    if var eagle3 = shape as? Eagle3Shape, eagle3.variant.window != nil {
      // Shorter than the conversations, so that it matters.
      eagle3.variant.window = 4
      shape = eagle3
    }
    let vocabulary = DraftVocabulary.mostFrequent(
      counts: [Int](repeating: 1, count: target.shape.vocabularySize), size: shape.draftVocabularySize, always: [])
    let start = DraftModel.random(shape: shape, vocabulary: vocabulary, seed: 2).withEmbedding(of: target)
    let inputs = TrainingInputs(
      config: train, states: .store(store), target: target, trained: Array(0..<10), heldOut: [10, 11])
    let run = try TrainingRun(
      inputs, start: start, output: "\(folder)/run", cluster: SoloCommunicator(), progress: SilentProgress(),
      stop: StopRequest())
    try run.begin()
    for epoch in 0..<20 { try run.train(epoch: epoch) }
    let losses = try TinyCapture.losses(of: "\(folder)/run")
    let (first, last) = (losses.prefix(losses.count / 20), losses.suffix(losses.count / 20))
    #expect(last.reduce(0, +) < 0.95 * first.reduce(0, +), "\(losses)")

    try expectSame(try TrainingCheckpoint.draft(try newest(folder), target: target.shape), run.optimizer.draft)
    for layout in [nil, HeadLayout.speculators] {
      let path = "\(folder)/head-\(layout?.rawValue ?? "automatic")"
      try DraftFolder.write(
        run.optimizer.draft, target: target.shape, layout: layout, verifier: target.path,
        tables: run.optimizer.draft.tables(of: target), to: path)
      try expectSame(try DraftFolder.read(path, target: target), run.optimizer.draft.rounded())
    }
  }

  private func newest(_ folder: String) throws -> Checkpoint {
    try #require(try CheckpointFolder.newestValid(in: "\(folder)/run") { _ in })
  }

  private func expectSame(_ back: DraftModel, _ head: DraftModel) throws {
    #expect(back.shape == head.shape && back.vocabulary == head.vocabulary)
    for (a, b) in zip(back.parameters, head.parameters) {
      #expect(a.name == b.name && a.variable.value.float32().values == b.variable.value.float32().values)
    }
  }
}
