import EagleAutograd
import EagleDraft
import EagleModels
import EagleTensor
import EagleTraining
import Foundation
import Testing

/// Compares the objective of block drafters with an independent computation.
@Suite struct BlockTests {
  private static let fixture = try? BlockFixture.load()

  @Test(
    "loss and gradients agree, in one pass, in chunks of anchors, and in parts", arguments: fixture?.cases ?? [])
  func lossAndGradients(one: BlockFixture.Case) throws {
    let fixture = try #require(Self.fixture)
    let small = ObjectiveSettings.Chunking(longestWhole: 1, rows: 2 * one.block_size)
    for (chunking, parts) in [(.standard, 1), (small, 1), (.standard, 3), (small, 2)] {
      let draft = fixture.draft(one)
      let objective = fixture.objective(one, of: draft, chunking: chunking)
      let anchors = fixture.anchors(one, of: draft)
      #expect(anchors.map(\.positions) == one.anchors)
      let sums = (0..<parts).reduce(objective.noSums) { sums, part in
        let own = anchors.map { all in
          all[all.positions.count * part / parts..<all.positions.count * (part + 1) / parts]
        }
        let batch = objective.batch(fixture.conversations(one), own)
        return zip(sums, batch.run(globalRows: one.rows, recording: true)).map { $0 + $1 }
      }
      #expect(sums.map(\.rows) == one.rows && sums.map(\.hits) == one.hits)
      for (slot, sum) in sums.enumerated() {
        // because: float32 against float64
        #expect(abs(sum.loss - one.loss_sums[slot]) < 1e-5 * one.loss_sums[slot], "slot \(slot)")
        #expect(abs(sum.overlap - one.overlap[slot]) < 1e-5 * one.overlap[slot], "slot \(slot)")
      }
      #expect(abs(objective.metrics(sums, leftOut: nil).loss - one.loss) < 1e-5 * one.loss)
      for parameter in draft.parameters {
        let (own, expected) = (parameter.variable.gradient!.values, one.gradients[parameter.name]!)
        let largest = expected.map(abs).max()!
        let error = zip(own, expected).map { abs(Double($0) - $1) }.max()!
        #expect(error < 1e-4 * largest, "\(parameter.name)")
      }
    }
  }

  @Test("ten steps of AdamW have the losses of PyTorch", arguments: fixture?.cases ?? [])
  func tenSteps(one: BlockFixture.Case) throws {
    let fixture = try #require(Self.fixture)
    let settings = fixture.config.optimiser
    var config = TrainConfig()
    (config.beta1, config.beta2, config.clipNorm) = (settings.beta1, settings.beta2, settings.clip_norm)
    let optimizer = AdamW(fixture.draft(one), config: config)
    let objective = fixture.objective(one, of: optimizer.draft)
    let batch = objective.batch(fixture.conversations(one), fixture.anchors(one, of: optimizer.draft))
    for (index, expected) in one.steps.enumerated() {
      optimizer.clearGradients()
      let sums = batch.run(globalRows: one.rows, recording: true)
      let loss = objective.metrics(sums, leftOut: nil).loss
      #expect(abs(loss - expected) < 1e-4 * expected, "step \(index + 1)")
      optimizer.apply(step: index + 1, learningRate: settings.learning_rate, norm: optimizer.gradientNorm())
    }
  }

  @Test("every parameter is told once, when its gradient is complete", arguments: [1, 1000])
  func parametersAreFinalOnce(longestWhole: Int) throws {
    let fixture = try #require(Self.fixture)
    let one = fixture.cases[0]
    let draft = fixture.draft(one)
    let objective = fixture.objective(one, of: draft, chunking: .init(longestWhole: longestWhole, rows: 8))
    var told: [(variable: Variable, gradient: [Float])] = []
    let conversations = fixture.conversations(one)
    _ = objective.batch(conversations, epoch: nil).run(
      globalRows: one.rows, recording: true
    ) { told.append(($0, $0.gradient?.values ?? [])) }
    let count = draft.parameters.count
    #expect(told.count == count && Set(told.map { ObjectIdentifier($0.variable) }).count == count)
    for (variable, gradient) in told { #expect(gradient == variable.gradient!.values) }
  }

  @Test("anchors are trained tokens before trained tokens; an epoch draws its share of them, and each its own")
  func anchors() {
    let mask: [UInt8] = [1, 1, 0, 1, 1, 1, 1, 0, 1]
    let all = BlockAnchors(mask: mask, proposals: 2)
    #expect(all.positions == [3, 4, 5] && all.slots == [2, 2, 1] && all.counts(proposals: 2) == [3, 2])
    let long = BlockAnchors(mask: [UInt8](repeating: 1, count: 101), proposals: 4)
    #expect(long.positions == Array(1...99))
    func drawn(_ epoch: Int, conversation: Int = 7, limit: Int = 512) -> [Int] {
      long.sampled(share: 0.25, limit: limit, seed: 3, conversation: conversation, epoch: epoch).positions
    }
    #expect(drawn(0).count == 25 && drawn(0) == drawn(0).sorted() && drawn(0) == drawn(0))
    #expect(drawn(0) != drawn(1) && drawn(0) != drawn(0, conversation: 8) && drawn(0, limit: 10).count == 10)
  }
}
