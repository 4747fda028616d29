import EagleCluster
import EagleCore
import EagleDraft
import EagleRunFiles
import EagleTraining
import Foundation
import Testing

/// Training runs in which a share of the rows of each TTT step continues to the next (`train.ttt_share`).
@Suite struct SampledRowsTests {
  private let run: SmallRun

  init() throws { run = try SmallRun() }

  private func trainer(
    _ output: String, cluster: any Communicator = SoloCommunicator(), stop: StopRequest = StopRequest(),
    share: Double = 0.5
  ) throws -> TrainingRun {
    try run.trainer(output, cluster: cluster, stop: stop) { ($0.tttLength, $0.tttShare) = (3, share) }
  }

  @Test("ranks take the steps of one rank", arguments: [2, 3])
  func ranks(count: Int) throws {
    let alone = try trainer("alone")
    for epoch in 0..<3 { try alone.train(epoch: epoch) }
    let output = "ranks-\(count)"
    let weights = try LoopbackCommunicator.run(size: count) { cluster in
      let one = try trainer(output, cluster: cluster)
      for epoch in 0..<3 { try one.train(epoch: epoch) }
      return one.optimizer.weights.values
    }
    #expect(weights.allSatisfy { $0 == weights[0] }, "the same bits on all ranks")
    let (a, b) = (try run.metrics("alone"), try run.metrics(output))
    func accuracy(_ steps: some Sequence<StepMetrics>) -> Double { steps.reduce(0) { $0 + $1.accuracy[0] } }
    #expect(a.count == b.count && accuracy(a.suffix(5)) > 2 * accuracy(a.prefix(5)))
    // because: gradients are added up in another order, and AdamW divides by the size of tiny ones
    for (a, b) in zip(a, b) { #expect(abs(a.loss - b.loss) < 1e-3 * a.loss, "step \(a.step)") }
  }

  @Test("a stopped run goes on with the same rows, bit for bit, and other shares give other steps")
  func resumed() throws {
    let whole = try run.checkResume(epochs: 3) { try trainer($0, stop: $1) }
    let all = try trainer("all", share: 1)
    for epoch in 0..<3 { try all.train(epoch: epoch) }
    #expect(all.optimizer.weights.values != whole)
  }

  @Test("a block drafter has no such steps")
  func blocks() throws {
    var (train, draft) = (TrainConfig(), DraftConfig())
    (train.tttShare, draft.architecture, draft.layers) = (0.5, .dspark, 1)
    let shape = draft.shape(of: run.target.shape, captureLayers: [0, 1, 2])
    let error = #expect(throws: LocatedError.self) { try shape.check(train.objective) }
    #expect(error?.description.contains("train.ttt_share: is for EAGLE-3 heads") == true)
  }

  @Test("costs follow the sample")
  func costs() throws {
    let shape = try trainer("costs").optimizer.draft.shape
    func work(_ share: Double, depths: Int) -> Double {
      var settings = ObjectiveSettings()
      (settings.tttLength, settings.tttShare, settings.precision) = (depths, share, .fp32)
      return shape.costs(settings).operations(masks: [[UInt8](repeating: 1, count: 500)])
    }
    let (one, all, half) = (work(1, depths: 1), work(1, depths: 3), work(0.5, depths: 3))
    #expect(work(0.5, depths: 1) == one)
    // Steps 1 and 2 have half and a quarter of the rows.
    #expect(abs((half - one) / (all - one) - 0.375) < 0.01)
  }
}
