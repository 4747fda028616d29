import EagleAutograd
import EagleCluster
import EagleModels
import EagleStorage
import EagleTensor
import Foundation

/// Trains a draft head on the target's states: batches, averaging over ranks, optimiser, checkpoints, metrics.
public final class Trainer {
  /// What a trainer works on.
  public struct Job {
    public var config: TrainConfig
    public var gradients: WireFormat
    public var states: StateSource
    /// Loss mask of a conversation; that of the states' source when nil.
    public var mask: ((Int) throws -> [UInt8])?
    /// Conversations to train on, and those that are only measured.
    public var trained: [Int]
    public var heldOut: [Int]
    public var target: TargetModel
    /// Folder of the run.
    public var output: String
    /// Of everything that must be the same when the run is resumed.
    public var fingerprint: String
    /// The id that the data has for a conversation.
    public var name: (Int) -> String

    public init(
      config: TrainConfig, gradients: WireFormat = .fp32, states: StateSource, mask: ((Int) throws -> [UInt8])? = nil,
      trained: [Int], heldOut: [Int], target: TargetModel, output: String, fingerprint: String,
      name: @escaping (Int) -> String = { "\($0)" }
    ) {
      self.config = config
      self.gradients = gradients
      self.states = states
      self.mask = mask
      self.trained = trained
      self.heldOut = heldOut
      self.target = target
      self.output = output
      self.fingerprint = fingerprint
      self.name = name
    }
  }

  /// Tokens that one rank runs through the draft at a time. At Qwen3-4B's size and K = 7 a trained row keeps 2.3 MB for
  /// its way back.
  static let microBatchTokens = 1024

  public let optimizer: AdamW
  public let plan: BatchPlan
  /// Optimiser steps done or left out.
  public private(set) var step = 0
  private let job: Job
  private let cluster: any Communicator
  private let progress: ProgressSink
  private let stop: StopRequest
  private let feed: ConversationFeed
  private let objective: Objective
  private let schedule: Schedule
  private let metrics: MetricsFile
  private let buckets: GradientBuckets
  private let writer: CheckpointWriter
  private let timing: TimingRecorder
  /// On rank 0, when the recipe asks for it and it works; its first use tells it behind which step it begins.
  private lazy var events = job.config.tensorboard && cluster.isRoot ? openEvents() : nil
  /// Where this rank's time goes.
  let clock = PhaseClock()
  /// Trained rows by step of the conversations that this rank has had.
  private var rowCounts: [Int: [Int64]] = [:]
  /// What was begun for the step to come while gradients were on their way.
  private var prepared: Work?
  private var skippedInARow = 0
  /// The step whose state was written or read last.
  private var lastCheckpoint = 0
  /// The acc_length of the last evaluation, for the progress line.
  public var lastAccLength: Double?
  /// Of the last step that was not left out.
  private(set) var newestMetrics: StepMetrics?

  /// Collective.
  ///
  /// - Parameters:
  ///   - job: what to train on
  ///   - start: the head to train; its weights are copied
  ///   - cluster: the ranks that take part
  ///   - progress: told of every step
  ///   - stop: looked at in every step
  /// - Throws: when no node has one of the store's shards
  public init(
    _ job: Job, start: DraftModel, cluster: any Communicator, progress: ProgressSink,
    stop: StopRequest = StopRequest()
  ) throws {
    let config = job.config
    let products = config.precision.products
    self.job = job
    self.cluster = cluster
    self.progress = progress
    self.stop = stop
    feed = try ConversationFeed(job.states, cluster: cluster)
    optimizer = AdamW(start, config: config)
    plan = BatchPlan(
      conversations: job.trained, lengths: job.states.lengths, epochs: config.epochs,
      tokensPerBatch: config.tokensPerBatch, seed: config.seed)
    objective = Objective(
      draft: optimizer.draft, embedding: job.target.embedding,
      teacher: Teacher(target: job.target, vocabulary: start.vocabulary, products: products),
      steps: config.tttLength, stepDecay: config.stepDecay, loss: config.loss.kind, products: products, clock: clock)
    schedule = Schedule(peak: config.learningRate, warmupRatio: config.warmupRatio, totalSteps: plan.totalSteps)
    metrics = MetricsFile(path: RunFolder(job.output).metrics)
    timing = TimingRecorder(path: RunFolder(job.output).timing, cluster: cluster, clock: clock)
    buckets = GradientBuckets(
      optimizer.gradients, places: optimizer.places.map { ($0.variable, $0.range) }, cluster: cluster,
      wire: job.gradients, isSharded: config.shardOptimizer)
    writer = CheckpointWriter(parent: job.output, keep: config.keepCheckpoints)
    if config.shardOptimizer { optimizer.own(buckets.ownRanges) }
  }

  /// Goes on from the newest valid checkpoint; without one the run starts at step 0. Rank 0 reads for all. Collective.
  public func resume() throws {
    var (found, info) = (Checkpoint?.none, TrainingCheckpoint.Info?.none)
    if cluster.isRoot {
      found = try CheckpointFolder.newestValid(in: job.output) { progress.say($0) }
      info = try found.map(checkedInfo)
    }
    step = Int(try cluster.allReduceSum([Int64(info?.step ?? 0)])[0])
    if step > 0 { try TrainingCheckpoint.load(found, into: optimizer, cluster: cluster) }
    lastCheckpoint = step
    if let found { progress.say("resumed from \(found.name)") }
    if cluster.isRoot { try metrics.truncate(after: step) }
  }

  private func checkedInfo(_ checkpoint: Checkpoint) throws -> TrainingCheckpoint.Info {
    let info = try TrainingCheckpoint.info(checkpoint)
    guard info.runFingerprint == job.fingerprint else {
      throw TrainingError(
        path: checkpoint.path, problem: "the checkpoint belongs to a run with other settings, data or target",
        advice: "resume with the recipe that it was made with, or choose another output folder")
    }
    return info
  }

  /// Runs the rest of epoch `epoch` (from 0) and leaves a checkpoint at its end.
  ///
  /// - Throws: `StoppedRun` when a stop was asked for, after the step that is under way, with a checkpoint
  public func train(epoch: Int) throws {
    Storage.releaseUnused()  // of the start, or of the evaluation before
    if job.config.featureRates == .bySize && optimizer.featureRates == nil {
      optimizer.featureRates = try FeatureSizes.rates(
        job.states, features: 3 * job.target.shape.hiddenSize, conversations: job.trained, cluster: cluster)
    }
    let first = plan.lastStep(ofEpoch: epoch - 1)
    let batches = plan.epochs[epoch]
    try timing.open(after: step)
    _ = events
    for (index, batch) in batches.enumerated() where first + index >= step {
      let next = index + 1 < batches.count ? batches[index + 1] : nil
      let isToStop = try optimize(batch, next: next, epoch: epoch)
      let isEnd = next == nil
      if isEnd || isToStop || step % job.config.checkpointEvery == 0 { try checkpoint() }
      if isEnd || isToStop {
        try waitForCheckpoint()
        try timing.close(epoch: epoch + 1, step: step)
      }
      if isToStop {
        stop.make("another rank")
        try stop.throwIfMade(during: "training, after step \(step)")
      }
    }
  }

  /// A batch as this rank works on it.
  private struct Work {
    let batch: [Int]
    /// Conversations of each micro-batch of this rank.
    let parts: [[Int]]
    /// Trained rows by step of this rank's conversations.
    let ownRows: [Int64]
    /// N_k of the global batch; known once the ranks have added theirs up.
    var globalRows: [Double] = []
    /// The first micro-batch, read and answered.
    var first: Objective.Question?
  }

  /// This rank's part of a batch, with what it needs from other nodes at hand. Collective.
  private func work(on batch: [Int]) throws -> Work {
    let shares = BatchPlan.shares(of: batch, lengths: job.states.lengths, ranks: cluster.size)
    try clock.measure(.reading) { try feed.fetch(shares) }
    let share = shares[cluster.rank]
    return Work(
      batch: batch, parts: BatchPlan.microBatches(share, lengths: job.states.lengths, tokens: Self.microBatchTokens),
      ownRows: try rows(of: share))
  }

  /// What was prepared for this batch, or the same from nothing.
  private func takeWork(on batch: [Int]) throws -> Work {
    defer { prepared = nil }
    if let prepared, prepared.batch == batch { return prepared }
    var work = try work(on: batch)
    work.globalRows = try clock.measure(.communication) { try cluster.allReduceSum(work.ownRows) }.map(Double.init)
    return work
  }

  /// One optimiser step of all ranks, which ends with a line of metrics.
  ///
  /// - Parameter next: the batch after this one, which is prepared while gradients are on their way
  /// - Returns: whether a rank wants to stop
  func optimize(_ batch: [Int], next: [Int]?, epoch: Int) throws -> Bool {
    let start = ContinuousClock.now
    let waited = clock.seconds[.communication] ?? 0
    _ = cluster.takeAveragingCost()
    let work = try takeWork(on: batch)
    clock.measure(.optimiser) { optimizer.clearGradients() }
    buckets.begin()
    let sums = try gradients(of: work)
    let busy = start.duration(to: .now).inSeconds - (clock.seconds[.communication] ?? 0) + waited
    try buckets.allAreFinal()
    try prepare(next, withAnswers: !job.config.shardOptimizer)
    let message = try clock.measure(.communication) {
      try StepMessage(sums, nextRows: prepared?.ownRows, busy: busy, isToStop: stop.isMade, cluster).addedUp()
    }
    prepared?.globalRows = message.nextRows
    try clock.measure(.communication) { try buckets.wait() }
    let norm = try norm()
    step += 1
    guard norm.isFinite, message.sums.allSatisfy(\.loss.isFinite) else {
      try skip(work, epoch: epoch, what: norm.isFinite ? "loss" : "gradient")
      return message.isToStop
    }
    skippedInARow = 0
    let rate = schedule.learningRate(step: step)
    clock.measure(.optimiser) { optimizer.apply(step: step, learningRate: rate, norm: norm) }
    if job.config.shardOptimizer { try shareWeights() }
    try writer.check()
    let line = line(
      message, epoch: epoch, rate: rate, norm: norm, batch: batch, since: start,
      exposed: (clock.seconds[.communication] ?? 0) - waited)
    if cluster.isRoot { try metrics.append(line) }
    logEvents(line.scalars, step: line.step)
    newestMetrics = line
    note(line)
    return message.isToStop
  }

  /// Rows of the batch to come, and the target's answers to its first micro-batch: neither depends on the weights.
  private func prepare(_ next: [Int]?, withAnswers: Bool) throws {
    guard let next else { return }
    prepared = try work(on: next)
    if withAnswers { try answerFirst() }
  }

  private func answerFirst() throws {
    guard let first = prepared?.parts.first else { return }
    prepared?.first = try question(first)
  }

  private func question(_ conversations: [Int]) throws -> Objective.Question {
    objective.question(try feed.read(conversations, clock))
  }

  /// Every rank has stepped its own weights; now all get all. The next step's answers are computed meanwhile.
  private func shareWeights() throws {
    let start = ContinuousClock.now
    var answering = 0.0
    try buckets.gather(optimizer.weights) {
      answering = try ContinuousClock().measure { try answerFirst() }.inSeconds
    }
    clock.add(start.duration(to: .now).inSeconds - answering, to: .communication)
    optimizer.weightsHaveChanged()
  }

  /// Of the averaged gradient.
  private func norm() throws -> Double {
    let own = clock.measure(.optimiser) { optimizer.sumOfSquares(optimizer.owned) }
    guard job.config.shardOptimizer else { return own.squareRoot() }
    return try clock.measure(.communication) { try cluster.allReduceSum([own])[0] }.squareRoot()
  }

  private func line(
    _ message: StepMessage, epoch: Int, rate: Double, norm: Double, batch: [Int], since start: ContinuousClock.Instant,
    exposed: Double
  ) -> StepMetrics {
    let seconds = start.duration(to: .now).inSeconds
    let reading = ObjectiveMetrics(message.sums, weights: message.sums.indices.map(objective.weight))
    let tokens = batch.reduce(0) { $0 + job.states.lengths[$1] }
    let cost = cluster.takeAveragingCost()
    let communication = StepCommunication(
      seconds: cost.seconds, exposed: exposed, bytesSent: cost.bytesSent, imbalance: message.imbalance)
    return StepMetrics(
      step: step, epoch: epoch + 1, loss: reading.loss, lossByPosition: reading.lossByPosition, lr: rate,
      gradNorm: norm, tokens: tokens,
      tokensPerSecond: Double(tokens) / seconds, accuracy: reading.accuracy, acceptance: reading.acceptance,
      simulatedAcceptanceLength: reading.simulatedAcceptanceLength,
      communication: cluster.size > 1 ? communication : nil)
  }

  /// Adds the gradients of this rank's share to the optimiser's buffer; in the last micro-batch's way back they start on
  /// their own way to the other ranks.
  private func gradients(of work: Work) throws -> [StepSums] {
    var sums = [StepSums](repeating: StepSums(), count: objective.steps)
    for (index, part) in work.parts.enumerated() {
      let question = try index == 0 ? work.first ?? question(part) : question(part)
      let isLast = index + 1 == work.parts.count
      let counted = try objective.run(question, globalRows: work.globalRows, recording: true) {
        if isLast { try buckets.isFinal($0) }
      }
      sums = zip(sums, counted).map { $0 + $1 }
      cluster.tick()
    }
    return sums
  }

  private func rows(of share: [Int]) throws -> [Int64] {
    var rows = [Int64](repeating: 0, count: objective.steps)
    for conversation in share {
      let counts = try rowCounts[conversation] ?? countRows(conversation)
      rowCounts[conversation] = counts
      for k in rows.indices { rows[k] += counts[k] }
    }
    return rows
  }

  private func countRows(_ conversation: Int) throws -> [Int64] {
    let mask = try job.mask?(conversation) ?? job.states.mask(conversation)
    let trained = TrainedRows(mask: mask, steps: objective.steps)
    return (0..<objective.steps).map { Int64(trained.count(step: $0)) }
  }

  /// Of the held-out conversations.
  var heldOutTokens: Int { job.heldOut.reduce(0) { $0 + job.states.lengths[$1] } }

  /// Teacher-forced loss and accuracy on the held-out conversations; nil when there are none.
  public func heldOutMetrics() throws -> ObjectiveMetrics? {
    guard !job.heldOut.isEmpty else { return nil }
    let ones = [Double](repeating: 1, count: objective.steps)
    var sums = [StepSums](repeating: StepSums(), count: objective.steps)
    for batch in BatchPlan.cut(job.heldOut, job.states.lengths, job.config.tokensPerBatch) {
      for part in try work(on: batch).parts {
        let counted = objective.run(try question(part), globalRows: ones, recording: false)
        sums = zip(sums, counted).map { $0 + $1 }
        cluster.tick()
      }
    }
    let all = try StepMessage(sums, nextRows: nil, busy: 0, isToStop: false, cluster).addedUp()
    return ObjectiveMetrics(all.sums, weights: sums.indices.map(objective.weight))
  }

  // MARK: events for TensorBoard

  /// Puts an evaluation of the run among its events, when the recipe wants events.
  public func logEvents(_ record: EvaluationRecord) { logEvents(record.scalars, step: record.step) }

  private func logEvents(_ scalars: @autoclosure () -> [EventFile.Scalar], step: Int) {
    guard let events else { return }
    do {
      try events.append(scalars(), step: step)
    } catch {
      sayWithoutEvents(error)
      self.events = nil
    }
  }

  private func openEvents() -> EventFile? {
    do {
      return try EventFile(folder: RunFolder(job.output).tensorboard, after: step)
    } catch {
      sayWithoutEvents(error)
      return nil
    }
  }

  /// Curves that are drawn elsewhere are not worth the end of a run.
  private func sayWithoutEvents(_ error: any Error) {
    progress.say("warning: no more events for TensorBoard: \(error); training goes on")
  }

  // MARK: numbers that are none

  /// Leaves the step out: weights and moments stay. Too many in a row end the run with a checkpoint from before them.
  private func skip(_ work: Work, epoch: Int, what: String) throws {
    skippedInARow += 1
    let culprits = try culprits(work).map(job.name)
    let skipped = SkippedStep(
      step: step, epoch: epoch + 1, skipped: "the \(what) is not a number", conversations: culprits)
    if cluster.isRoot { try metrics.append(skipped) }
    let names =
      culprits.isEmpty ? "no conversation shows it alone" : "conversations: \(culprits.joined(separator: ", "))"
    progress.say("step \(step) is left out: \(skipped.skipped); \(names)")
    guard skippedInARow > job.config.maxSkippedSteps else { return }
    let good = step - skippedInARow
    if good > 0, good != lastCheckpoint { try checkpoint(of: good) }
    try waitForCheckpoint()
    throw TrainingError(
      path: job.output, problem: "\(skippedInARow) steps in a row up to step \(step) had no usable numbers; \(names)",
      advice:
        "the weights of step \(good) are kept; take the conversations out of the data, or lower train.learning_rate")
  }

  /// Conversations of the batch whose loss or gradient is not a number when they are run alone. Spoils the gradients.
  private func culprits(_ work: Work) throws -> [Int] {
    var found: [Int] = []
    for conversation in work.parts.joined() {
      optimizer.clearGradients()
      let sums = objective.run(
        try question([conversation]), globalRows: work.globalRows.map { max(1, $0) }, recording: true)
      let isUsable =
        sums.allSatisfy(\.loss.isFinite) && optimizer.sumOfSquares([0..<optimizer.gradients.count]).isFinite
      if !isUsable { found.append(conversation) }
      cluster.tick()
    }
    return try cluster.gather(try JSONEncoder().encode(found))
      .flatMap { try JSONDecoder().decode([Int].self, from: $0) }.sorted()
  }

  // MARK: checkpoints

  private func checkpoint() throws { try checkpoint(of: step) }

  /// Starts to write what a checkpoint holds. Collective.
  private func checkpoint(of step: Int) throws {
    lastCheckpoint = step
    let before = clock.seconds[.checkpoint] ?? 0
    let moments = try clock.measure(.checkpoint) { try allMoments() }
    guard cluster.isRoot else { return }
    try clock.measure(.checkpoint) {
      try writer.finish()
      let info = TrainingCheckpoint.Info(
        step: step, runFingerprint: job.fingerprint, targetPath: job.target.path,
        targetFingerprint: job.target.fingerprint, draftShape: optimizer.draft.shape,
        draftVocabulary: optimizer.draft.vocabulary.targetIDs)
      try writer.start(TrainingCheckpoint.State(optimizer, moments: moments), info)
    }
    note(checkpoint: step, seconds: (clock.seconds[.checkpoint] ?? 0) - before)
  }

  /// What the copy, or the writing, and a wait for the checkpoint before have cost.
  private func note(checkpoint step: Int, seconds: Double) {
    guard let newestMetrics else { return }
    let stepSeconds = Double(newestMetrics.tokens) / newestMetrics.tokensPerSecond
    progress.say(
      String(
        format: "checkpoint of step %d: training waited %.3f s, %.1f %% of the time of %d steps", step, seconds,
        100 * seconds / (stepSeconds * Double(job.config.checkpointEvery)), job.config.checkpointEvery))
  }

  /// Both moments of all weights on rank 0; on other ranks they mean nothing where each has its own only. Between two steps the
  /// gradients' place is free for them: only rank 0 needs room for one moment more. Collective.
  private func allMoments() throws -> (first: Tensor, second: Tensor) {
    guard job.config.shardOptimizer else { return (optimizer.firstMoment, optimizer.secondMoment) }
    func gather(_ own: Tensor, into all: Tensor) throws -> Tensor {
      optimizer.forEachOwned(in: 0..<all.count) { part, moments in
        Elementwise.copy(own.slice(moments), into: all.slice(part))
      }
      try buckets.gather(all)
      return all
    }
    let gradients = optimizer.gradients
    let first = try gather(optimizer.firstMoment, into: cluster.isRoot ? Tensor(gradients.shape) : gradients)
    return (first, try gather(optimizer.secondMoment, into: gradients))
  }

  /// Returns once the last checkpoint is on disk. Collective.
  private func waitForCheckpoint() throws {
    if cluster.isRoot { try writer.finish() }
    try cluster.barrier()
  }

  private func note(_ line: StepMetrics) {
    var parts = [String(format: "epoch %d, loss %.3f, accuracy %.3f", line.epoch, line.loss, line.accuracy[0])]
    if let lastAccLength { parts.append(String(format: "acc_length %.2f", lastAccLength)) }
    parts.append(String(format: "%.0f tokens/s", line.tokensPerSecond))
    parts += line.communication?.complaints(stepSeconds: Double(line.tokens) / line.tokensPerSecond) ?? []
    progress.advance(
      "train", done: step, total: plan.totalSteps, unit: "steps", note: parts.joined(separator: ", "))
  }
}
