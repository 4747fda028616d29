import EagleCaptureStore
import EagleCluster
import EagleCore
import EagleDraft
import EagleModels
import EagleTensor
import EagleTraining
import Foundation

/// Benchmarks the optimiser step of training over a store of random states: reading, objective, gradients, AdamW.
package enum TrainBenchmark {
  /// Runs the benchmark. The conversations of a step are partitioned among the ranks. Collective.
  ///
  /// - Parameters:
  ///   - options: shape and sizes
  ///   - folder: an empty one for this rank's copy of the store
  ///   - cluster: the ranks that take part
  ///   - gradients: their precision in messages
  ///   - isSharded: each rank updates its partition of the weights only (ZeRO-1)
  package static func run(
    _ options: BenchmarkOptions, folder: String, cluster: any Communicator = SoloCommunicator(),
    gradients: ComputePrecision = .fp32, isSharded: Bool = false
  ) throws -> BenchmarkReport {
    let shape = options.shape.draft(vocabularySize: options.draftSize)
    let vocabulary = DraftVocabulary(
      targetIDs: (0..<Int32(options.draftSize)).map { $0 }, targetSize: shape.vocabularySize)
    let ids = options.randomConversations(vocabulary: options.draftSize)
    let store = try randomStore(ids, masks: ids.map { _ in options.lossMask }, shape, folder: folder)
    let conversations = Array(0..<options.conversations)
    var inputs = TrainingInputs(
      config: config(options, isSharded: isSharded), states: .store(store),
      target: TargetModel(random: options.shape.target(layers: 0), seed: 0), trained: conversations)
    inputs.gradients = gradients
    // One step for each repeat and the first.
    let engine = try StepEngine(
      inputs, start: .random(shape: shape, vocabulary: vocabulary, seed: 0), totalSteps: options.repeats + 1,
      cluster: cluster)
    Storage.releaseUnused()  // memory from the creation of the store and the head
    let repeats = try (0...options.repeats).map { _ in
      engine.clock.reset()
      let peak = try cluster.allReduceSum([GemmBenchmark.peak(options.precision)])[0]
      try cluster.barrier()
      // Every step prepares the next one and was prepared by the previous one.
      let start = ContinuousClock.now
      let update = try engine.step(conversations, next: conversations).update
      let seconds = start.duration(to: .now).inSeconds
      return BenchmarkRepeat(
        seconds: seconds, peakGflops: peak, phases: engine.clock.named,
        communication: update?.communication)
    }
    let masks = [[UInt8]](repeating: options.lossMask, count: options.conversations)
    let costs = shape.costs(inputs.config.objective)
    var report = BenchmarkReport(
      "train", options, operations: costs.operations(masks: masks),
      path: Matmul.describe(options.precision), repeats: repeats, ranks: cluster.size)
    report.parameters = engine.optimizer.weights.count
    report.headParameters = shape.lmHeadParameters
    report.plannedMemory = plannedMemory(options, inputs, shape, ranks: cluster.size)
    return report
  }

  /// The memory that `plan` predicts for a rank of this benchmark.
  private static func plannedMemory(
    _ options: BenchmarkOptions, _ inputs: TrainingInputs, _ shape: any DraftShape, ranks: Int
  ) -> Double {
    let sizes = Sizes(target: inputs.target.shape, draft: shape, targetBytes: Double(inputs.target.head.byteCount))
    let sample = DataSample(
      conversations: inputs.trained.map { _ in
        .init(ids: [Int32](repeating: 0, count: options.tokens), mask: options.lossMask, count: 1, trained: 1)
      })
    let costs = shape.costs(inputs.config.objective)
    let work = costs.largest(sample.microBatches(inputs.config, costs: costs, ranks: ranks))
    return sizes.targetBytes + sizes.training(inputs.config, work: work, ranks: ranks).reduce(0) { $0 + $1.bytes }
  }

  private static func config(_ options: BenchmarkOptions, isSharded: Bool) -> TrainConfig {
    var config = TrainConfig()
    config.shardOptimizer = isSharded
    config.tttLength = options.tttLength
    config.precision = options.precision
    config.tokensPerBatch = options.tokens * options.conversations
    return config
  }

  /// A store of one shard with random states.
  ///
  /// - Parameter conversations: ids below D of each
  static func randomStore(
    _ conversations: [[Int32]], masks: [[UInt8]], _ shape: any DraftShape, folder: String
  ) throws -> CaptureStore {
    let attributes = CaptureAttributes(
      hiddenSize: shape.targetHiddenSize, vocabularySize: shape.vocabularySize, layers: shape.captureLayers,
      targetFingerprint: "random 0", precision: .fp32)
    let writer = try CaptureShardWriter(path: "\(folder)/\(CaptureManifest.shardName(0))", attributes: attributes)
    var random = RandomSource(seed: 0, purpose: "benchmark states")
    for (ids, mask) in zip(conversations, masks) {
      let rows = ids.count
      try writer.append(
        ids: ids, mask: mask,
        auxHidden: randomStates(rows, shape.featureWidth, &random),
        lastHidden: randomStates(rows, shape.targetHiddenSize, &random),
        // All teacher choices are in the draft vocabulary, so that every trained row carries loss.
        teacherArgmax: ids, teacherLogSum: [Float](repeating: 12, count: rows))
    }
    try writer.finish()
    let entry = CaptureManifest.Shard(
      file: CaptureManifest.shardName(0), rows: conversations.reduce(0) { $0 + $1.count },
      conversations: conversations.count)
    try CaptureManifest(attributes: attributes, dataFingerprint: "benchmark", shards: [entry]).write(to: folder)
    return try CaptureStore(folder: folder)
  }

  /// bfloat16 [rows, width]; only a part of them exists in float32 at a time.
  private static func randomStates(_ rows: Int, _ width: Int, _ random: inout RandomSource) -> Tensor {
    let states = Tensor([rows, width], dtype: .bfloat16)
    for first in stride(from: 0, to: rows, by: 512) {
      let part = Tensor.normal([min(512, rows - first), width], deviation: 1, using: &random).bfloat16()
      (states.bfloats + first * width).update(from: part.bfloats, count: part.count)
    }
    return states
  }
}
