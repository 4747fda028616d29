import EagleCore
import EagleDraft
import EagleModels
import EaglePlan
import EagleRunFiles
import EagleTensor
import EagleTraining
import Foundation
import Testing

@Suite struct ForecastTests {
  private let target = TargetShape(
    family: .llama, hiddenSize: 96, layers: 8, attention: AttentionShape(heads: 4, kvHeads: 2, headDimension: 24),
    intermediateSize: 160, vocabularySize: 300, ropeTheta: 1e4, maxPositions: 512)

  private func sizes(_ vocabulary: Int = 50) -> Sizes {
    var config = DraftConfig()
    config.vocabularySize = vocabulary
    return Sizes(
      target: target, draft: Eagle3Shape(of: target, config, captureLayers: [1, 3, 4]), targetBytes: 1000)
  }

  @Test("forecast memory of weights, gradients and moments is that of the optimiser")
  func parametersAndMomentsAreThoseOfTheOptimiser() {
    let sizes = sizes()
    let vocabulary = DraftVocabulary(targetIDs: (0..<50).map { Int32($0) }, targetSize: 300)
    let optimizer = AdamW(.random(shape: sizes.draft, vocabulary: vocabulary, seed: 1), config: TrainConfig())
    #expect(sizes.parameters == optimizer.weights.count)
    let needs = sizes.training(TrainConfig(), work: .init(activations: 7, conversations: 5), ranks: 1)
    func bytes(_ name: String) -> Double? { needs.first { $0.name == name }?.bytes }
    #expect(bytes("draft weights, float32") == Double(optimizer.weights.byteCount))
    #expect(bytes("gradients") == Double(optimizer.gradients.byteCount))
    #expect(bytes("moments") == Double(optimizer.firstMoment.byteCount + optimizer.secondMoment.byteCount))
    #expect(bytes("activations of a micro-batch") == 7)
    #expect(bytes("states of its conversations, keys of a long one") == 5)
    #expect(bytes("states that are read ahead") == 5)
    let online = sizes.training(TrainConfig(), work: .init(conversations: 5), ranks: 1, mode: .online)
    #expect(!online.contains { $0.name == "states that are read ahead" })
    var muon = TrainConfig()
    (muon.optimizer, muon.stateNoise) = (.muon, 0.1)
    let shapes = optimizer.draft.shape.hiddenMatrices.map(\.shape)
    let largest = shapes.map { 14 * $0[0] * $0[1] + 12 * $0.min()! * $0.min()! }.max()!
    let more = sizes.training(muon, work: .init(), ranks: 1)
    #expect(more.first { $0.name.hasPrefix("a matrix of Muon") }?.bytes == Double(largest))
    #expect(sizes.muonElements == shapes.reduce(0) { $0 + $1.reduce(1, *) })
    #expect(more.first { $0.name == "moments" }?.bytes == Double(8 * optimizer.weights.count - 4 * sizes.muonElements))
    var sharded = TrainConfig()
    sharded.shardOptimizer = true
    let shared = sizes.training(sharded, work: .init(), ranks: 4)
    func share(_ prefix: String) -> Double? { shared.first { $0.name.hasPrefix(prefix) }?.bytes }
    #expect(share("moments") == Double(8 * optimizer.weights.count) / 4)
    // 4 Mi elements, or all of a small head.
    #expect(share("a bucket of moments") == Double(min(16 << 20, optimizer.firstMoment.byteCount)))
  }

  @Test("forecast disk space agrees with values computed by hand") func diskIsWorkedOutByHand() {
    let sizes = sizes()
    #expect(sizes.storedBytes(.bf16) == 4 * 96 * 2 + 13)
    // Two blocks of 64 numbers in a state of 96, a scale of two bytes each.
    #expect(sizes.storedBytes(.int8) == 4 * (96 + 2 * 2) + 13)
    var capture = CaptureConfig()
    let stored = sizes.disk(tokens: 1000, conversations: 10, capture: capture, keep: 3)
    #expect(stored.first { $0.name == "capture store" }?.bytes == 781_000)
    #expect(stored.first { $0.name == "5 checkpoints" }?.bytes == Double(5 * 12 * sizes.parameters))
    capture.mode = .online
    #expect(
      !sizes.disk(tokens: 1000, conversations: 10, capture: capture, keep: 3).contains { $0.name == "capture store" })
  }

  @Test("the forecast KV cache is as large as the one of decoding") func cachesAreThoseThatDecodingMakes() {
    let cache = TargetModel(random: target, seed: 0).makeCache(capacity: 10)
    let layer = cache.entries(of: 0)
    #expect(sizes().cache(tokens: 10) == Double(8 * (layer.k.byteCount + layer.v.byteCount)))
  }

  @Test("a job is assigned to the worker that is free first") func jobsGoToWhoeverIsFree() {
    #expect(RunPlan.makespan(jobs: [4, 3, 3], workers: 2) == 6)
    #expect(RunPlan.makespan(total: 10.5, job: 1, workers: 2) == 5.5)
    #expect(RunPlan.makespan(total: 3, job: 10, workers: 4) == 3)
    #expect(RunPlan.makespan(total: 3, job: 0, workers: 4) == 0)
  }

  @Test("memory and disk that do not suffice are reported with settings to change")
  func whatDoesNotFitIsSaidWithWhatToChange() {
    let advice = RunPlan.Advice(
      capture: CaptureConfig(), train: TrainConfig(), ranksPerNode: 2, ranks: 2, nodes: 1)
    let problems = RunPlan.problems(memory: 3e9, of: 2e9, disk: 5e12, free: 1e12, config: advice)
    #expect(problems.count == 2)
    #expect(problems[0].hasPrefix("this will not fit: 3.00 GB of memory on a node that has 2.00 GB; start fewer ranks"))
    #expect(problems[0].contains("train.shard_optimizer"))
    #expect(
      problems[1].contains("5.00 TB on a disk with 1.00 TB free; set capture.states to int8, or set capture.mode"))
    #expect(RunPlan.problems(memory: 1, of: 2, disk: 1, free: 2, config: advice).isEmpty)
    var lean = CaptureConfig()
    lean.mode = .online
    let less = RunPlan.Advice(capture: lean, train: TrainConfig(), ranksPerNode: 1, ranks: 1, nodes: 1)
    #expect(!less.forDisk.contains { $0.contains("capture.") } && !less.forMemory.contains { $0.contains("ranks") })
  }

  @Test("link rates in Mbit and Gbit are read", arguments: [("1Gbit", 1e8), ("10gbit", 1e9), ("500 Mbit", 5e7)])
  func linksAreRead(text: String, bandwidth: Double) throws {
    let link = try #require(StepModel.Link(text))
    #expect(abs(link.bandwidth - bandwidth) < 1)
  }

  @Test(
    "text without a positive rate and its unit is no link",
    arguments: ["", "fast", "-1Gbit", "0Gbit", "10", "Gbit", "nanGbit"])
  func otherLinksAreNone(text: String) {
    #expect(StepModel.Link(text) == nil)
  }

  /// Earlier work and the first task do not count; there is no estimate from less than three seconds.
  @Test("the estimate of the time left ignores earlier work and the start") func timeLeftForgetsTheStart() {
    var left = TimeLeft()
    #expect(left.estimate(done: 500, total: 1000, at: 0) == nil)
    #expect(left.estimate(done: 501, total: 1000, at: 20) == nil)
    #expect(left.estimate(done: 503, total: 1000, at: 22) == nil)
    #expect(left.estimate(done: 511, total: 1000, at: 30) == 489)
    #expect(left.estimate(done: 1000, total: 1000, at: 500) == nil)
    #expect(left.estimate(done: 7, total: 0, at: 600) == nil)
  }

  @Test("waiting above 5 % and imbalance above 20 % are reported") func communicationIsMentionedWhereItMatters() {
    func complaints(_ exposed: Double, _ imbalance: Double) -> [String] {
      StepCommunication(seconds: 1, exposed: exposed, bytesSent: 1, imbalance: imbalance).complaints(stepSeconds: 2)
    }
    #expect(complaints(0.1, 0.2).isEmpty)
    #expect(complaints(0.11, 0.1) == ["waiting 0.11 s of 2.00"])
    #expect(complaints(0, 0.21) == ["imbalance 21 %"])
  }
}
