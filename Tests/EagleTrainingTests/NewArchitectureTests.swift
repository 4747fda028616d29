import EagleCluster
import EagleCore
import EagleDecoding
import EagleDraft
import EagleModels
import EagleTensor
import EagleTraining
import Foundation
import Testing

/// A new architecture is a shape and a network: trainer, optimiser, ranks and decoding need no changes.
@Suite struct NewArchitectureTests {
  private let small: SmallRun

  init() throws { small = try SmallRun() }

  private func start() -> DraftModel {
    let size = small.target.shape.vocabularySize
    return .random(
      shape: BigramShape(
        vocabularySize: size, draftVocabularySize: 40, targetHiddenSize: small.target.shape.hiddenSize),
      vocabulary: .mostFrequent(counts: [Int](repeating: 1, count: size), size: 40, always: []), seed: 2)
  }

  /// The trained head, and the losses on some trained conversations before and after.
  private func trained(_ cluster: any Communicator) throws -> (head: DraftModel, losses: [Double]) {
    var config = TrainConfig()
    (config.epochs, config.tokensPerBatch, config.learningRate) = (6, 80, 0.2)
    (config.precision, config.warmupRatio) = (.fp32, 0)
    let inputs = TrainingInputs(
      config: config, states: .store(small.store), target: small.target, trained: Array(0..<21), heldOut: [0, 1, 2])
    let output = "\(small.path)/bigram-\(cluster.size)"
    if cluster.isRoot { try FileManager.default.createDirectory(atPath: output, withIntermediateDirectories: true) }
    try cluster.barrier()
    let run = try TrainingRun(
      inputs, start: start(), output: output, cluster: cluster, progress: SilentProgress(), stop: StopRequest())
    try run.begin()
    let before = try run.heldOutMetrics()!.loss
    for epoch in 0..<6 { try run.train(epoch: epoch) }
    return (run.optimizer.draft, [before, try run.heldOutMetrics()!.loss])
  }

  @Test("it learns, alike on one rank and on two, and drafts the text that plain decoding writes")
  func trainedAndDecoded() throws {
    let one = try trained(SoloCommunicator())
    #expect(one.losses[1] < 0.9 * one.losses[0], "\(one.losses)")
    let two = try LoopbackCommunicator.run(size: 2) { try trained($0).head.parameters[0].variable.value.values }
    for values in two {
      for (a, b) in zip(one.head.parameters[0].variable.value.values, values) {
        // because: gradients are added up in another order, and AdamW divides by the size of tiny ones
        #expect(abs(a - b) < 1e-3)
      }
    }
    var options = DecodingOptions(maxNewTokens: 60, stopIDs: [])
    let plain = try DecodingSession(target: small.target).generate([5, 6, 7], options)
    for plan in [DraftPlan.chain(3), DraftPlan(depth: 3, width: 3, nodes: 10)] {
      options.plan = plan
      let drafted = try DecodingSession(target: small.target, draft: one.head.rounded()).generate([5, 6, 7], options)
      #expect(drafted.ids == plain.ids && drafted.statistics.draftedTokens > 0)
    }
  }
}
