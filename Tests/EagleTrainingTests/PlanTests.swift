import EagleTraining
import Testing

@Suite struct PlanTests {
  private let lengths = (0..<50).map { 20 + ($0 * 37) % 90 }

  @Test("an epoch has each conversation once, and full batches")
  func everyConversationComesOnceAnEpochAndBatchesAreFull() {
    let plan = BatchPlan(
      conversations: Array(0..<50), lengths: lengths, epochs: 2, tokensPerBatch: 300, seed: 5)
    for epoch in plan.epochs {
      #expect(epoch.flatMap { $0 }.sorted() == Array(0..<50))
      for batch in epoch.dropLast() { #expect(batch.reduce(0) { $0 + lengths[$1] } >= 300) }
    }
    #expect(plan.epochs[0] != plan.epochs[1])
    #expect(plan.totalSteps == plan.lastStep(ofEpoch: 1) && plan.lastStep(ofEpoch: -1) == 0)
  }

  @Test("the order of conversations is repeatable and depends on the seed")
  func ordersAreRepeatableAndDependOnTheSeed() {
    func plan(_ seed: UInt64) -> [[[Int]]] {
      BatchPlan(conversations: Array(0..<50), lengths: lengths, epochs: 1, tokensPerBatch: 300, seed: seed).epochs
    }
    #expect(plan(5) == plan(5))
    #expect(plan(5) != plan(6))
  }

  @Test("the learning rate warms up and falls to almost zero") func scheduleWarmsUpAndFallsToZero() {
    let schedule = Schedule(peak: 2, warmupRatio: 0.1, totalSteps: 100)
    #expect(schedule.learningRate(step: 5) == 1)
    #expect(schedule.learningRate(step: 10) == 2)
    #expect(schedule.learningRate(step: 11) == 2)
    #expect(abs(schedule.learningRate(step: 56) - 1) < 1e-12)
    #expect(schedule.learningRate(step: 100) < 0.001)
    let short = Schedule(peak: 2, warmupRatio: 0, totalSteps: 1)
    #expect(short.learningRate(step: 1) == 2)
  }
}
