import EagleCluster
import EagleCore
import EagleDraft
import EagleModels
import EaglePlan
import EagleTensor
import EagleTraining
import Foundation
import Testing

/// Conversations beyond `BatchPlan.microBatchTokens`, in a run and in a plan.
@Suite struct LongConversationTests {
  @Test("ranks with and without a long conversation take the steps of one rank", arguments: [(2, false), (3, true)])
  func ranksTrainAlike(ranks: Int, isSharded: Bool) throws {
    let run = try SmallRun()
    let folder = "\(run.path)/long"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let store = try SmallRun.write(to: folder, run.target, long: [4: 1300, 9: 1100, 22: 1200])
    let alone = try run.trainer("long-alone", epochs: 1, store: store)
    try alone.train(epoch: 0)
    let heldOut = try #require(try alone.heldOutMetrics())
    let losses = try LoopbackCommunicator.run(size: ranks) { cluster in
      let trainer = try run.trainer("long-\(ranks)", epochs: 1, cluster: cluster, store: store) {
        $0.shardOptimizer = isSharded
      }
      try trainer.train(epoch: 0)
      return try trainer.heldOutMetrics()?.loss ?? 0
    }
    let (one, many) = (try run.metrics("long-alone"), try run.metrics("long-\(ranks)"))
    #expect(one.count == many.count && one.contains { $0.tokens > 1300 })
    // because: gradients are added up in another order, and AdamW divides by the size of tiny ones
    for (a, b) in zip(one, many) { #expect(abs(a.loss - b.loss) < 1e-4 * a.loss, "step \(a.step)") }
    #expect(losses.allSatisfy { abs($0 - heldOut.loss) < 1e-3 * heldOut.loss })
  }

  // MARK: memory

  private func memory(_ masks: [[UInt8]]) -> ObjectiveBytes {
    let target = TargetShape(
      family: .qwen3, hiddenSize: 2560, layers: 36,
      attention: AttentionShape(heads: 32, kvHeads: 8, headDimension: 128), intermediateSize: 9728,
      vocabularySize: 151936, ropeTheta: 5e6, maxPositions: 262144)
    let shape = Eagle3Shape(of: target, DraftConfig(), captureLayers: target.defaultCaptureLayers)
    return shape.costs(TrainConfig().objective).largest(masks.map { [$0] })
  }

  @Test("activations do not grow with a conversation, its states and keys do") func memoryIsBounded() {
    func trained(_ tokens: Int) -> [UInt8] { [UInt8](repeating: 1, count: tokens) }
    let (short, long) = (memory([trained(4096)]), memory([trained(16384)]))
    #expect(long.activations < 1.2 * short.activations)
    #expect(long.activations < 2e9)
    // By hand: four states of 2560 bfloat16 numbers per token, and 1024 float32 numbers four times a prefix row.
    #expect(long.conversations == Double(16384 * 4 * 2560 * 2 + 16382 * 4 * 1024 * 4))
    let mixed = memory([trained(300), trained(16384), trained(200)])
    #expect(mixed == long)
  }

  @Test("a plan looks at the longest conversation that was read") func plansKnowTheLongest() {
    let lengths = [30, 2000, 50, 700]
    let sample = DataSample(
      conversations: lengths.map {
        .init(
          ids: [Int32](repeating: 0, count: $0), mask: [UInt8](repeating: 1, count: $0), count: 1, trained: 1)
      })
    let costs = BigramCosts(positions: 7)
    let parts = sample.microBatches(TrainConfig(), costs: costs, ranks: 2)
    #expect(parts.contains { $0.map(\.count) == [2000] })
  }
}
