import EagleCaptureStore
import EagleCluster
import EagleCore
import EagleDraft
import EagleModels
import EagleRunFiles
import EagleTensor
import EagleTraining
import Foundation
import Testing

/// A small run: the tiny Llama target's own states of random conversations, in a store of two shards.
final class SmallRun: Sendable {
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

  /// - Parameters:
  ///   - poisoned: conversations whose states are not finite
  ///   - long: tokens of some conversations that are longer than the others
  static func write(
    to folder: String, _ target: TargetModel, poisoned: Set<Int> = [], long: [Int: Int] = [:]
  ) throws -> CaptureStore {
    let attributes = CaptureAttributes(
      hiddenSize: target.shape.hiddenSize, vocabularySize: target.shape.vocabularySize, layers: [0, 1, 2],
      targetFingerprint: target.fingerprint, precision: .fp32)
    var random = RandomSource(seed: 11)
    var entries: [CaptureManifest.Shard] = []
    for shard in 0..<2 {
      let writer = try CaptureShardWriter(path: "\(folder)/\(CaptureManifest.shardName(shard))", attributes: attributes)
      for index in 0..<12 {
        let short = 8 + Int(random.next() % 24)
        let length = long[shard * 12 + index] ?? short
        let ids = (0..<length).map { _ in Int32(random.next() % 64) }
        let states = target.prefill(ids, segments: [Segment(rows: 0..<length)], captureLayers: [0, 1, 2])
        let logits = Matmul.forward(states.lastHidden.bfloat16().float32(), target.head, .fp32)
        let logSums = (0..<length).map { row in
          Float(log(logits.slice(row..<row + 1).values.reduce(0.0) { $0 + exp(Double($1)) }))
        }
        if poisoned.contains(shard * 12 + index) {
          Elementwise.copy(.filled([length, 3 * 32], with: .nan), into: states.auxHidden!)
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

  /// - Parameters:
  ///   - change: changes of the settings
  ///   - head: changes of the head
  func trainer(
    _ output: String, epochs: Int = 4, cluster: any Communicator = SoloCommunicator(), store: CaptureStore? = nil,
    masksOf whole: CaptureStore? = nil, gradients: ComputePrecision = .fp32, stop: StopRequest = StopRequest(),
    leftOut: Set<Int> = [], heldOut: [Int] = [21, 22, 23], progress: ProgressSink = SilentProgress(),
    change: (inout TrainConfig) -> Void = { _ in }, head: (inout DraftConfig) -> Void = { _ in }
  ) throws -> TrainingRun {
    var config = TrainConfig()
    (config.epochs, config.tttLength, config.tokensPerBatch) = (epochs, 3, 80)
    (config.learningRate, config.precision, config.checkpointEvery) = (5e-3, .fp32, 4)
    change(&config)
    var draft = DraftConfig()
    draft.vocabularySize = 40
    head(&draft)
    let start = DraftModel.random(
      shape: draft.shape(of: target.shape, captureLayers: [0, 1, 2], maskToken: 63),
      vocabulary: .mostFrequent(counts: [Int](repeating: 1, count: 64), size: 40, always: []), seed: 2)
    var inputs = TrainingInputs(
      config: config, states: .store(store ?? self.store), target: target, trained: Array(0..<21), heldOut: heldOut)
    inputs.gradients = gradients
    if let whole { inputs.mask = { try whole.readTokens(conversation: $0).lossMask } }
    inputs.identity = RunIdentity(settings: ["train.learning_rate": "\(config.learningRate)", "train.beta1": "0.9"])
    (inputs.leftOut, inputs.name) = (leftOut, { "conversation \($0)" })
    let folder = "\(path)/\(output)"
    try? FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    return try TrainingRun(
      inputs, start: start, output: folder, cluster: cluster, progress: progress, stop: stop)
  }

  /// The change of each parameter in the first step of a run.
  func firstStep(_ output: String, change: (inout TrainConfig) -> Void) throws -> [String: [Float]] {
    let stop = StopRequest()
    let trainer = try trainer(output, stop: stop, change: change)
    try trainer.begin()
    stop.make("the test")
    func weights() -> [String: [Float]] {
      Dictionary(uniqueKeysWithValues: trainer.optimizer.draft.parameters.map { ($0.name, $0.variable.value.values) })
    }
    let before = weights()
    #expect(throws: StoppedRun.self) { try trainer.train(epoch: 0) }
    return weights().merging(before) { zip($0, $1).map { $0 - $1 } }
  }

  /// Checks that a run which stops within its second epoch resumes bit for bit.
  ///
  /// - Returns: the last weights
  @discardableResult
  func checkResume(
    epochs: Int, _ trainer: (_ output: String, _ stop: StopRequest) throws -> TrainingRun
  ) throws -> [Float] {
    let whole = try trainer("whole", StopRequest())
    for epoch in 0..<epochs { try whole.train(epoch: epoch) }
    let stop = StopRequest()
    let first = try trainer("cut", stop)
    try first.train(epoch: 0)
    stop.make("the test")
    #expect(throws: StoppedRun.self) { try first.train(epoch: 1) }
    let second = try trainer("cut", StopRequest())
    try second.resume()
    #expect(second.step == first.plan.lastStep(ofEpoch: 0) + 1)
    for epoch in 1..<epochs { try second.train(epoch: epoch) }
    #expect(second.optimizer.weights.values == whole.optimizer.weights.values)
    #expect(try metrics("whole").map(\.loss) == metrics("cut").map(\.loss))
    return whole.optimizer.weights.values
  }

  func metrics(_ output: String) throws -> [StepMetrics] {
    let text = try String(contentsOfFile: "\(path)/\(output)/metrics.jsonl", encoding: .utf8)
    return try text.split(separator: "\n").map { try JSONDecoder().decode(StepMetrics.self, from: Data($0.utf8)) }
  }
}
