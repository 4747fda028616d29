import EagleCluster
import EagleModels
import EagleStorage
import EagleTensor
import EagleTraining
import Foundation
import Testing

/// A small run: the tiny Llama target's own states of random conversations, in a store of two shards.
private final class SmallRun: Sendable {
  let path = NSTemporaryDirectory() + "/eagle-training-" + UUID().uuidString
  let target: TargetModel
  let store: CaptureStore

  init() throws {
    let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    target = try TargetModel(folder: tests.appendingPathComponent("Fixtures/tiny-llama").path)
    try FileManager.default.createDirectory(atPath: "\(path)/store", withIntermediateDirectories: true)
    store = try Self.write(to: "\(path)/store", target)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  private static func write(to folder: String, _ target: TargetModel) throws -> CaptureStore {
    let attributes = CaptureAttributes(
      hiddenSize: target.shape.hiddenSize, vocabularySize: target.shape.vocabularySize, layers: [0, 1, 2],
      targetFingerprint: target.fingerprint)
    var random = RandomSource(seed: 11)
    var entries: [CaptureManifest.Shard] = []
    for shard in 0..<2 {
      let writer = try CaptureShardWriter(path: "\(folder)/\(CaptureManifest.shardName(shard))", attributes: attributes)
      for _ in 0..<12 {
        let length = 8 + Int(random.next() % 24)
        let ids = (0..<length).map { _ in Int32(random.next() % 64) }
        let states = target.forward(
          ids, segments: [Segment(rows: 0..<length)], captureLayers: [0, 1, 2], .fp32)
        let logits = target.logits(states.lastHidden.bfloat16().float32(), .fp32)
        let logSums = (0..<length).map { row in
          Float(log(logits.slice(row..<row + 1).values.reduce(0.0) { $0 + exp(Double($1)) }))
        }
        try writer.append(
          ids: ids, mask: (0..<length).map { $0 < 3 ? 0 : 1 }, auxHidden: states.auxHidden!.bfloat16(),
          lastHidden: states.lastHidden.bfloat16(), teacherArgmax: logits.argmax().map(Int32.init),
          teacherLogSum: logSums)
      }
      entries.append(.init(file: CaptureManifest.shardName(shard), rows: writer.rowCount, conversations: 12))
      try writer.finish()
    }
    try CaptureManifest(attributes: attributes, dataFingerprint: "test", shards: entries).write(to: folder)
    return try CaptureStore(folder: folder)
  }

  func trainer(_ output: String, epochs: Int = 4, cluster: any Communicator = SoloCommunicator()) -> Trainer {
    var config = TrainConfig()
    (config.epochs, config.tttLength, config.tokensPerBatch) = (epochs, 3, 80)
    (config.learningRate, config.precision, config.checkpointEvery) = (5e-3, .fp32, 4)
    var draft = DraftConfig()
    draft.vocabularySize = 40
    let start = DraftModel.random(
      shape: DraftShape(of: target.shape, draft, captureLayers: [0, 1, 2]),
      vocabulary: .mostFrequent(counts: [Int](repeating: 1, count: 64), size: 40, always: []), seed: 2)
    let job = Trainer.Job(
      config: config, store: store, trained: Array(0..<21), heldOut: [21, 22, 23], target: target,
      output: "\(path)/\(output)", fingerprint: "same")
    try? FileManager.default.createDirectory(atPath: job.output, withIntermediateDirectories: true)
    return Trainer(job, start: start, cluster: cluster, progress: SilentProgress())
  }

  func metrics(_ output: String) throws -> [StepMetrics] {
    let text = try String(contentsOfFile: "\(path)/\(output)/metrics.jsonl", encoding: .utf8)
    return try text.split(separator: "\n").map { try JSONDecoder().decode(StepMetrics.self, from: Data($0.utf8)) }
  }
}

@Suite struct TrainerTests {
  private let run: SmallRun

  init() throws { run = try SmallRun() }

  @Test func lossFallsAndHeldOutIsMeasured() throws {
    let trainer = run.trainer("a")
    let before = try #require(try trainer.heldOutMetrics())
    for epoch in 0..<4 { try trainer.train(epoch: epoch) }
    let lines = try run.metrics("a")
    #expect(lines.count == trainer.plan.totalSteps && lines.last!.step == lines.count)
    #expect(lines.last!.loss < lines.first!.loss)
    let after = try #require(try trainer.heldOutMetrics())
    #expect(before.loss > 0 && after.loss != before.loss && after.accuracy.count == 3)
  }

  @Test(arguments: [2, 3]) func ranksGiveTheLossesOfOneRank(ranks: Int) throws {
    let alone = run.trainer("alone")
    for epoch in 0..<4 { try alone.train(epoch: epoch) }
    let run = run
    _ = try LoopbackCommunicator.run(size: ranks) { cluster in
      let trainer = run.trainer("ranks-\(ranks)", cluster: cluster)
      for epoch in 0..<4 { try trainer.train(epoch: epoch) }
      return trainer.step
    }
    let (one, many) = (try run.metrics("alone"), try run.metrics("ranks-\(ranks)"))
    #expect(one.count == many.count && one.count >= 20)
    for (a, b) in zip(one.prefix(20), many) {
      #expect(abs(a.loss - b.loss) < 1e-5, "step \(a.step)")
      #expect(a.accuracy == b.accuracy && a.lr == b.lr && a.tokens == b.tokens)
    }
  }

  /// One trainer does the first epoch and another, which reads its checkpoint, the rest.
  @Test func aResumedRunEndsWithTheSameBits() throws {
    let whole = run.trainer("whole")
    for epoch in 0..<4 { try whole.train(epoch: epoch) }
    let first = run.trainer("cut")
    try first.train(epoch: 0)
    let second = run.trainer("cut")
    try second.resume()
    #expect(second.step == first.step)
    for epoch in 0..<4 where second.step < second.plan.lastStep(ofEpoch: epoch) { try second.train(epoch: epoch) }
    #expect(second.optimizer.weights.values == whole.optimizer.weights.values)
    #expect(second.optimizer.secondMoment.values == whole.optimizer.secondMoment.values)
    let (a, b) = (try run.metrics("whole"), try run.metrics("cut"))
    #expect(a.map(\.loss) == b.map(\.loss) && a.map(\.step) == b.map(\.step))
  }

  @Test func aDamagedCheckpointIsPassedOverForTheOneBefore() throws {
    let first = run.trainer("damaged")
    try first.train(epoch: 0)
    let names = try CheckpointFolder.names(in: "\(run.path)/damaged")
    #expect(names.count >= 2)
    let file = URL(fileURLWithPath: "\(run.path)/damaged/\(names.last!)/state.safetensors")
    var data = try Data(contentsOf: file)
    data[data.count - 5] ^= 1
    try data.write(to: file)
    let second = run.trainer("damaged")
    try second.resume()
    #expect(CheckpointFolder.name(step: second.step) == names[names.count - 2])
  }

  @Test func aCheckpointOfAnotherRunIsRefused() throws {
    let first = run.trainer("other")
    try first.train(epoch: 0)
    let checkpoint = try #require(try CheckpointFolder.newestValid(in: "\(run.path)/other") { _ in })
    var info = try TrainingCheckpoint.info(checkpoint)
    info.runFingerprint = "different"
    try CheckpointFolder.write(
      parent: "\(run.path)/other", name: "step-00000999", info: try JSONEncoder().encode(info)
    ) { folder in
      try FileManager.default.copyItem(
        atPath: checkpoint.path(of: "state.safetensors"), toPath: "\(folder)/state.safetensors")
    }
    let second = run.trainer("other")
    let error = #expect(throws: TrainingError.self) { try second.resume() }
    #expect(error?.description.contains("other settings") == true)
  }

  @Test func aCheckpointExportsTheTrainedHead() throws {
    let trainer = run.trainer("export")
    try trainer.train(epoch: 0)
    let checkpoint = try #require(try CheckpointFolder.newestValid(in: "\(run.path)/export") { _ in })
    let draft = try TrainingCheckpoint.draft(checkpoint, target: run.target.shape)
    for (a, b) in zip(draft.parameters, trainer.optimizer.draft.parameters) {
      #expect(a.variable.value.values == b.variable.value.values)
    }
    #expect(draft.vocabulary == trainer.optimizer.draft.vocabulary)
  }
}
