import EagleCluster
import EagleCore
import EagleDraft
import EagleModels
import EagleRunFiles
import EagleTensor
import EagleTraining
import Foundation
import Testing

/// Training runs of block drafters, which sample other anchors in each epoch.
@Suite struct BlockRunTests {
  private let run: SmallRun

  init() throws { run = try SmallRun() }

  private func trainer(
    _ output: String, cluster: any Communicator = SoloCommunicator(), stop: StopRequest = StopRequest(),
    isSharded: Bool = false
  ) throws -> TrainingRun {
    try run.trainer(output, cluster: cluster, stop: stop) {
      ($0.anchorShare, $0.shardOptimizer) = (0.5, isSharded)
    } head: {
      ($0.architecture, $0.layers, $0.blockSize, $0.markovRank) = (.dspark, 2, 4, 8)
    }
  }

  @Test("ranks take the steps of one rank, whole and with a sharded optimiser", arguments: [(2, false), (3, true)])
  func ranks(count: Int, isSharded: Bool) throws {
    let alone = try trainer("alone")
    for epoch in 0..<4 { try alone.train(epoch: epoch) }
    let output = "ranks-\(count)"
    let weights = try LoopbackCommunicator.run(size: count) { cluster in
      let one = try trainer(output, cluster: cluster, isSharded: isSharded)
      for epoch in 0..<4 { try one.train(epoch: epoch) }
      return one.optimizer.weights.values
    }
    #expect(weights.allSatisfy { $0 == weights[0] }, "the same bits on all ranks")
    let (a, b) = (try run.metrics("alone"), try run.metrics(output))
    #expect(a.count == b.count && a.last!.loss < a.first!.loss && a.last!.accuracy.count == 4)
    // because: gradients are added up in another order, and AdamW divides by the size of tiny ones
    for (a, b) in zip(a, b) { #expect(abs(a.loss - b.loss) < 1e-3 * a.loss, "step \(a.step)") }
  }

  @Test("a run that stops within an epoch goes on with the same anchors, bit for bit")
  func resumed() throws {
    try run.checkResume(epochs: 4) { try trainer($0, stop: $1) }
  }

  @Test("a fitted start predicts before it is trained, and its first slot best")
  func fitted() throws {
    var config = DraftConfig()
    (config.architecture, config.layers, config.blockSize, config.markovRank) = (.dspark, 2, 4, 8)
    config.vocabularySize = 40
    let target = run.target
    let random = DraftModel.random(
      shape: config.shape(of: target.shape, captureLayers: [0, 1, 2], maskToken: 63),
      vocabulary: .mostFrequent(counts: [Int](repeating: 1, count: 64), size: 40, always: []), seed: 2)
    let start = try #require(
      try DraftModel.fitted(
        random, target: target, states: .store(run.store), conversations: Array(0..<21), seed: 1,
        cluster: SoloCommunicator()))
    func metrics(_ head: DraftModel) throws -> ObjectiveMetrics {
      var settings = ObjectiveSettings()
      settings.precision = .fp32
      let objective = head.objective(
        tables: head.tables(of: target),
        teacher: Teacher(target: target, vocabulary: head.vocabulary, precision: .fp32), settings: settings)
      let conversations = try (0..<24).map { try run.store.read(conversation: $0) }
      let ones = [Double](repeating: 1, count: objective.positions)
      return objective.metrics(objective.run(conversations, globalRows: ones, recording: false), leftOut: nil)
    }
    let (before, after) = (try metrics(random), try metrics(start))
    #expect(after.accuracy[0] > 2 * before.accuracy[0] && after.accuracy[0] > after.accuracy[3], "\(after.accuracy)")
    #expect(after.acceptance[0] > 1.5 * before.acceptance[0], "\(before.acceptance) \(after.acceptance)")
  }

  @Test("a checkpoint of a head with another mask token is refused")
  func otherMaskToken() throws {
    try trainer("mask").train(epoch: 0)
    let other = try run.trainer("mask") {
      $0.anchorShare = 0.5
    } head: {
      ($0.architecture, $0.layers, $0.blockSize, $0.markovRank, $0.maskTokenID) = (.dspark, 2, 4, 8, 5)
    }
    let error = #expect(throws: LocatedError.self) { try other.resume() }
    #expect(error?.description.contains("mask token") == true)
  }

  @Test(
    "layers that are captured by default",
    arguments: [
      (DraftArchitecture.eagle3, nil, 36, [1, 17, 32]), (.dspark, nil, 36, [1, 9, 17, 25, 33]),
      (.dspark, nil, 30, [1, 8, 14, 20, 27]), (.dspark, nil, 26, [1, 6, 12, 18, 23]),
      (.dflash, 3, 30, [1, 14, 27]), (.dspark, 12, 30, [1, 5, 8, 12, 16, 20, 23, 27]), (.dspark, 1, 30, [15]),
      (.dspark, 5, 6, [1, 2, 3]), (.eagle3, nil, 6, [1, 2, 2]),
    ])
  func capturedLayers(_ architecture: DraftArchitecture, draftLayers: Int?, targetLayers: Int, expected: [Int]) {
    let target = TargetShape(
      family: .llama, hiddenSize: 64, layers: targetLayers,
      attention: AttentionShape(heads: 4, kvHeads: 4, headDimension: 16), intermediateSize: 128, vocabularySize: 512,
      ropeTheta: 1e4, maxPositions: 512)
    var draft = DraftConfig()
    (draft.architecture, draft.layers) = (architecture, draftLayers)
    #expect(CaptureConfig().layers(of: target, draft: draft) == expected)
    var listed = CaptureConfig()
    listed.layers = .listed([0, 2])
    #expect(listed.resolved(for: target, draft: draft).layers == .listed([0, 2]))
  }
}
