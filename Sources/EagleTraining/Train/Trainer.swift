import EagleCluster
import EagleModels
import EagleStorage
import EagleTensor
import Foundation

/// Trains a draft head from a capture store: batches, averaging over ranks, optimiser, checkpoints, metrics.
public final class Trainer {
  /// What a trainer works on.
  public struct Job {
    public var config: TrainConfig
    public var store: CaptureStore
    /// Conversations to train on, and those that are only measured.
    public var trained: [Int]
    public var heldOut: [Int]
    public var target: TargetModel
    /// Folder of the run.
    public var output: String
    /// Of everything that must be the same when the run is resumed.
    public var fingerprint: String

    public init(
      config: TrainConfig, store: CaptureStore, trained: [Int], heldOut: [Int], target: TargetModel, output: String,
      fingerprint: String
    ) {
      self.config = config
      self.store = store
      self.trained = trained
      self.heldOut = heldOut
      self.target = target
      self.output = output
      self.fingerprint = fingerprint
    }
  }

  /// Tokens that one rank runs through the draft at a time. At Qwen3-4B's size and K = 7 a trained row keeps 2.3 MB for
  /// its way back.
  static let microBatchTokens = 1024

  public let optimizer: AdamW
  public let plan: BatchPlan
  /// Optimiser steps done.
  public private(set) var step = 0
  private let job: Job
  private let cluster: any Communicator
  private let progress: ProgressSink
  private let objective: Objective
  private let schedule: Schedule
  private let metrics: MetricsFile
  /// Where this rank's time goes.
  let clock = PhaseClock()
  /// Trained rows by step of the conversations that this rank has had.
  private var rowCounts: [Int: [Int64]] = [:]

  /// - Parameter start: the head to train; its weights are copied
  public init(_ job: Job, start: DraftModel, cluster: any Communicator, progress: ProgressSink) {
    let config = job.config
    let products: Products = config.precision == .bf16 ? .bf16 : .fp32
    self.job = job
    self.cluster = cluster
    self.progress = progress
    optimizer = AdamW(start, config: config)
    plan = BatchPlan(
      conversations: job.trained, lengths: job.store.lengths, epochs: config.epochs,
      tokensPerBatch: config.tokensPerBatch, seed: config.seed)
    objective = Objective(
      draft: optimizer.draft, embedding: job.target.embedding,
      teacher: Teacher(target: job.target, vocabulary: start.vocabulary, products: products),
      steps: config.tttLength, stepDecay: config.stepDecay, products: products, clock: clock)
    schedule = Schedule(peak: config.learningRate, warmupRatio: config.warmupRatio, totalSteps: plan.totalSteps)
    metrics = MetricsFile(path: "\(job.output)/metrics.jsonl")
  }

  /// Goes on from the newest valid checkpoint; without one the run starts at step 0.
  public func resume() throws {
    let found = try CheckpointFolder.newestValid(in: job.output) { progress.say($0) }
    if let checkpoint = found { try load(checkpoint) }
    // A shared disk may show ranks different states; they must not start apart.
    try cluster.agree(on: "\(step)", about: "the checkpoint to resume from")
    if cluster.isRoot { try metrics.truncate(after: step) }
  }

  private func load(_ checkpoint: Checkpoint) throws {
    let info = try TrainingCheckpoint.info(checkpoint)
    guard info.runFingerprint == job.fingerprint else {
      throw TrainingError(
        path: checkpoint.path,
        problem: "the checkpoint belongs to a run with other settings (train.epochs is one of them), data or target",
        advice: "resume with the recipe that it was made with, or choose another output folder")
    }
    try TrainingCheckpoint.load(checkpoint, into: optimizer)
    step = info.step
    progress.say("resumed from \(checkpoint.name)")
  }

  /// Runs the rest of epoch `epoch` (from 0) and leaves a checkpoint at its end.
  public func train(epoch: Int) throws {
    Storage.releaseUnused()  // of the start, or of the evaluation before
    let first = plan.lastStep(ofEpoch: epoch - 1)
    for (index, batch) in plan.epochs[epoch].enumerated() where first + index >= step {
      let line = try optimize(batch, epoch: epoch)
      if cluster.isRoot { try metrics.append(line) }
      note(line)
      let isEnd = index + 1 == plan.epochs[epoch].count
      if isEnd || step % job.config.checkpointEvery == 0 { try checkpoint() }
    }
  }

  /// One optimiser step of all ranks.
  func optimize(_ batch: [Int], epoch: Int) throws -> StepMetrics {
    let start = ContinuousClock.now
    let share = BatchPlan.share(of: batch, lengths: job.store.lengths, rank: cluster.rank, ranks: cluster.size)
    clock.measure(.optimiser) { optimizer.clearGradients() }
    let sums = try gradients(of: share, globalRows: try globalRows(share))
    let total = try clock.measure(.communication) {
      try cluster.allReduceSum(optimizer.gradients.buffer(Float.self))
      return try added(sums)
    }
    let norm = clock.measure(.optimiser) { optimizer.gradientNorm() }
    guard norm.isFinite else {
      throw TrainingError(
        path: job.output, problem: "the gradient of step \(step + 1) is not a number",
        advice: "lower train.learning_rate; the last checkpoint is intact")
    }
    step += 1
    let rate = schedule.learningRate(step: step)
    clock.measure(.optimiser) { optimizer.apply(step: step, learningRate: rate, norm: norm) }
    let tokens = batch.reduce(0) { $0 + job.store.lengths[$1] }
    return line(total, epoch: epoch, rate: rate, norm: norm, tokens: tokens, since: start)
  }

  private func line(
    _ sums: [StepSums], epoch: Int, rate: Double, norm: Double, tokens: Int, since start: ContinuousClock.Instant
  ) -> StepMetrics {
    let seconds = start.duration(to: .now).inSeconds
    let reading = ObjectiveMetrics(sums, weights: sums.indices.map(objective.weight))
    return StepMetrics(
      step: step, epoch: epoch + 1, loss: reading.loss, lr: rate, gradNorm: norm, tokens: tokens,
      tokensPerSecond: Double(tokens) / seconds, accuracy: reading.accuracy, acceptance: reading.acceptance,
      simulatedAcceptanceLength: reading.simulatedAcceptanceLength)
  }

  /// Adds the gradients of one rank's share to the optimiser's buffer.
  private func gradients(of share: [Int], globalRows: [Double], recording: Bool = true) throws -> [StepSums] {
    var sums = [StepSums](repeating: StepSums(), count: objective.steps)
    let batches = BatchPlan.microBatches(share, lengths: job.store.lengths, tokens: Self.microBatchTokens)
    for batch in batches {
      let conversations = try clock.measure(.reading) { try batch.map { try job.store.read(conversation: $0) } }
      let counted = objective.run(conversations, globalRows: globalRows, recording: recording)
      sums = zip(sums, counted).map { $0 + $1 }
    }
    return sums
  }

  /// N_k of the global batch.
  private func globalRows(_ share: [Int]) throws -> [Double] {
    var rows = [Int64](repeating: 0, count: objective.steps)
    for conversation in share {
      let counts = try rowCounts[conversation] ?? countRows(conversation)
      rowCounts[conversation] = counts
      for k in rows.indices { rows[k] += counts[k] }
    }
    return try cluster.allReduceSum(rows).map(Double.init)
  }

  private func countRows(_ conversation: Int) throws -> [Int64] {
    let mask = try job.store.readTokens(conversation: conversation).lossMask
    let trained = TrainedRows(mask: mask, steps: objective.steps)
    return (0..<objective.steps).map { Int64(trained.count(step: $0)) }
  }

  private func added(_ sums: [StepSums]) throws -> [StepSums] {
    let flat = try cluster.allReduceSum(sums.flatMap { [$0.rows, $0.loss, $0.hits, $0.overlap] })
    return sums.indices.map {
      StepSums(rows: flat[4 * $0], loss: flat[4 * $0 + 1], hits: flat[4 * $0 + 2], overlap: flat[4 * $0 + 3])
    }
  }

  /// Teacher-forced loss and accuracy on the held-out conversations; nil when there are none.
  public func heldOutMetrics() throws -> ObjectiveMetrics? {
    guard !job.heldOut.isEmpty else { return nil }
    let share = BatchPlan.share(
      of: job.heldOut, lengths: job.store.lengths, rank: cluster.rank, ranks: cluster.size)
    let ones = [Double](repeating: 1, count: objective.steps)
    let sums = try added(try gradients(of: share, globalRows: ones, recording: false))
    return ObjectiveMetrics(sums, weights: sums.indices.map(objective.weight))
  }

  private func checkpoint() throws {
    if cluster.isRoot {
      let shape = optimizer.draft.shape
      let info = TrainingCheckpoint.Info(
        step: step, runFingerprint: job.fingerprint, targetPath: job.target.path,
        targetFingerprint: job.target.fingerprint, draftShape: shape,
        draftVocabulary: optimizer.draft.vocabulary.targetIDs)
      try TrainingCheckpoint.write(optimizer, info, parent: job.output)
      let best = try CheckpointFolder.target(of: "best", in: job.output)
      try CheckpointFolder.prune(in: job.output, keep: job.config.keepCheckpoints, also: Set([best].compactMap { $0 }))
    }
    try cluster.barrier()
  }

  private func note(_ line: StepMetrics) {
    let text = String(
      format: "epoch %d, loss %.3f, accuracy %.3f, %.0f tokens/s", line.epoch, line.loss, line.accuracy[0],
      line.tokensPerSecond)
    progress.advance("train", done: step, total: plan.totalSteps, unit: "steps", note: text)
  }
}
