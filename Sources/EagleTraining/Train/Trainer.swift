import EagleCluster
import EagleCore
import EagleModels
import EagleRunFiles
import EagleStorage
import EagleTensor
import EagleText
import Foundation

/// Trains a draft head on the target's states: batches, averaging over ranks, optimiser, checkpoints, metrics.
public final class Trainer {
  /// What a trainer works on.
  public struct Job {
    public var config: TrainConfig
    public var gradients: ComputePrecision
    public var states: StateSource
    /// Loss mask of a conversation; that of the states' source when nil.
    public var mask: ((Int) throws -> [UInt8])?
    /// Conversations to train on, and those that are only measured.
    public var trained: [Int]
    public var heldOut: [Int]
    public var target: TargetModel
    /// Folder of the run.
    public var output: String
    /// What must be the same when the run is resumed.
    public var identity: RunIdentity
    /// Conversations that no step trains on, though batches are cut as if they were there.
    public var leftOut: Set<Int>
    /// What `train.leave_out` calls a conversation.
    public var name: (Int) -> String

    public init(
      config: TrainConfig, gradients: ComputePrecision = .fp32, states: StateSource,
      mask: ((Int) throws -> [UInt8])? = nil,
      trained: [Int], heldOut: [Int], target: TargetModel, output: String, identity: RunIdentity = RunIdentity(),
      leftOut: Set<Int> = [], name: @escaping (Int) -> String = { "\($0)" }
    ) {
      self.config = config
      self.gradients = gradients
      self.states = states
      self.mask = mask
      self.trained = trained
      self.heldOut = heldOut
      self.target = target
      self.output = output
      self.identity = identity
      self.leftOut = leftOut
      self.name = name
    }
  }

  /// Tokens that one rank runs through the draft at a time, conversations that are longer aside (`Objective.Chunking`).
  /// At Qwen3-4B's size and K = 7 a trained row keeps 2.1 MB for its backward pass.
  package static let microBatchTokens = 1024

  public let optimizer: AdamW
  public let plan: BatchPlan
  /// Optimiser steps done or left out.
  public private(set) var step = 0
  /// Steps that have changed the weights: what AdamW's bias correction counts.
  package private(set) var updates = 0
  package let job: Job
  let cluster: any Communicator
  let progress: ProgressSink
  let stop: StopRequest
  let feed: ConversationFeed
  let objective: Objective
  private let schedule: Schedule
  let metrics: MetricsFile
  let buckets: GradientBuckets
  let writer: CheckpointWriter
  private let timing: TimingRecorder
  /// On rank 0, when the recipe asks for it and it works; its first use tells it behind which step it begins.
  lazy var events = job.config.tensorboard && cluster.isRoot ? openEvents() : nil
  /// Where this rank's time goes.
  package let clock = PhaseClock()
  /// Trained rows by step of the conversations that this rank has had.
  private let rowCounts: RowCounts
  /// What was begun for the step to come while gradients were on their way.
  private var prepared: Work?
  var skippedInARow = 0
  /// The step whose state was written or read last, and when.
  var lastCheckpoint = (step: 0, time: ContinuousClock.now)
  /// The acc_length of the last evaluation, for the progress line.
  public var lastAccLength: Double?
  /// Of the last step that was not left out.
  package private(set) var newestMetrics: StepMetrics?

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
      teacher: Teacher(target: job.target, vocabulary: start.vocabulary, precision: config.precision),
      steps: config.tttLength, stepDecay: config.stepDecay, loss: config.loss.kind, precision: config.precision,
      clock: clock,
      tick: cluster.tick)
    schedule = Schedule(peak: config.learningRate, warmupRatio: config.warmupRatio, totalSteps: plan.totalSteps)
    rowCounts = RowCounts(conversations: job.states.lengths.count, steps: config.tttLength)
    metrics = MetricsFile(path: RunFolder(job.output).metrics)
    timing = TimingRecorder(path: RunFolder(job.output).timing, cluster: cluster, clock: clock)
    buckets = GradientBuckets(
      optimizer.gradients, places: optimizer.places.map { ($0.variable, $0.range) }, cluster: cluster,
      wire: job.gradients, isSharded: config.shardOptimizer)
    writer = CheckpointWriter(parent: job.output, keep: config.keepCheckpoints) { progress.say($0) }
    if config.shardOptimizer { optimizer.own(buckets.ownRanges) }
  }

  /// Goes on from the newest valid checkpoint. Rank 0 reads for all. Collective.
  ///
  /// - Returns: whether there was one; without it the run starts at step 0
  @discardableResult
  public func resume() throws -> Bool {
    try resume(from: cluster.isRoot ? try CheckpointFolder.newestValid(in: job.output) { progress.say($0) } : nil)
  }

  /// - Parameter found: the newest valid checkpoint; nil on other ranks than 0, and when there is none
  @discardableResult
  package func resume(from found: Checkpoint?) throws -> Bool {
    let info = try found.map(checkedInfo)
    let state = try cluster.allReduceSum([
      found == nil ? 0 : 1, Int64(info?.step ?? 0), Int64(info?.updates ?? info?.step ?? 0),
      Int64(info?.skippedInARow ?? 0),
    ])
    (step, updates, skippedInARow) = (Int(state[1]), Int(state[2]), Int(state[3]))
    if state[0] > 0 { try TrainingCheckpoint.load(found, into: optimizer, cluster: cluster) }
    lastCheckpoint = (step, .now)
    if let found { progress.say("resumed from \(found.name)") }
    if cluster.isRoot { try metrics.truncate(after: step) }
    return state[0] > 0
  }

  /// Finds what the first step needs, and writes it and the start's weights as the checkpoint of step 0, so that a
  /// restart finds nothing anew. Collective.
  public func begin() throws {
    if cluster.isRoot { try RunChanges.forget(RunFolder(job.output).changes) }
    try findFeatureRates()
    try checkpoint(of: 0)
    try waitForCheckpoint()
  }

  private func findFeatureRates() throws {
    guard job.config.featureRates == .bySize && optimizer.featureRates == nil else { return }
    let sample = StateSample(
      job.trained, leftOut: job.leftOut, seed: job.config.seed, feed: feed, cluster: cluster, stop: stop)
    optimizer.featureRates = try FeatureSizes.rates(sample, features: 3 * job.target.shape.hiddenSize, cluster: cluster)
    {
      [progress, job] in
      progress.say("feature sizes: left out, with non-finite values: \(job.name($0))")
    }
  }

  /// Runs the rest of epoch `epoch` (from 0) and leaves a checkpoint at its end.
  ///
  /// - Throws: `StoppedRun` when a stop was asked for, after the step that is under way, with a checkpoint
  public func train(epoch: Int) throws {
    Storage.releaseUnused()  // of the start, or of the evaluation before
    try findFeatureRates()
    let first = plan.lastStep(ofEpoch: epoch - 1)
    let batches = plan.epochs[epoch]
    try timing.open(after: step)
    _ = events
    for (index, batch) in batches.enumerated() where first + index >= step {
      let next = index + 1 < batches.count ? batches[index + 1] : nil
      let end = try optimize(batch, next: next, epoch: epoch)
      let (isToStop, isEnd) = (end.isToStop, next == nil)
      // A step that is left out changes nothing that would be worth a checkpoint.
      let isDue = skippedInARow == 0 && (end.isCheckpointDue || step % job.config.checkpointEvery == 0)
      if isEnd || isToStop || isDue { try checkpoint(of: step) }
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
  struct Work {
    let batch: [Int]
    /// Conversations of each micro-batch of this rank.
    let parts: [[Int]]
    /// Trained rows by step of this rank's conversations.
    let ownRows: [Int64]
    /// N_k of the global batch; known once the ranks have added theirs up.
    var globalRows: [Double] = []
    /// The first micro-batch.
    let first = Prefetched()
  }

  /// A micro-batch that was read and answered ahead of its step. It is given away, so that no two batches' states exist
  /// at a time.
  final class Prefetched {
    var question: Objective.Question?

    func take() -> Objective.Question? {
      defer { question = nil }
      return question
    }
  }

  /// This rank's part of a batch, with what it needs from other nodes at hand. Collective.
  ///
  /// - Parameter leftOut: conversations of the batch that nobody works on
  func work(on batch: [Int], leavingOut leftOut: Set<Int>) throws -> Work {
    let shares = shares(of: batch, leavingOut: leftOut)
    try clock.measure(.reading) { try feed.fetch(shares) }
    let share = shares[cluster.rank]
    return Work(
      batch: batch, parts: BatchPlan.microBatches(share, lengths: job.states.lengths, tokens: Self.microBatchTokens),
      ownRows: try rows(of: share))
  }

  /// Conversations of a batch that each rank works on.
  func shares(of batch: [Int], leavingOut leftOut: Set<Int>) -> [[Int]] {
    let kept = leftOut.isEmpty ? batch : batch.filter { !leftOut.contains($0) }
    return BatchPlan.shares(of: kept, lengths: job.states.lengths, ranks: cluster.size)
  }

  /// What was prepared for this batch, or the same from nothing.
  private func takeWork(on batch: [Int]) throws -> Work {
    defer { prepared = nil }
    if let prepared, prepared.batch == batch { return prepared }
    var work = try work(on: batch, leavingOut: job.leftOut)
    work.globalRows = try clock.measure(.communication) { try cluster.allReduceSum(work.ownRows) }.map(Double.init)
    return work
  }

  /// Lets the batch to come be read again.
  func forgetPrepared() { prepared = nil }

  /// One optimiser step of all ranks, which ends with a line of metrics.
  ///
  /// - Parameter next: the batch after this one, which is prepared while gradients are on their way
  /// - Returns: what the ranks want behind this step
  package func optimize(_ batch: [Int], next: [Int]?, epoch: Int) throws -> StepMessage.Wishes {
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
      try StepMessage(sums, nextRows: prepared?.ownRows, busy: busy, wishes: wishes, cluster).addedUp()
    }
    prepared?.globalRows = message.nextRows
    try clock.measure(.communication) { try buckets.wait() }
    let norm = try norm()
    step += 1
    guard norm.isFinite, message.sums.allSatisfy(\.isFinite) else {
      try skip(work, epoch: epoch, what: norm.isFinite ? "loss" : "gradient")
      return message.wishes
    }
    // Without a row there is no gradient, and AdamW would only follow its momentum.
    guard message.sums.contains(where: { $0.rows > 0 }) else {
      try noteEmpty(epoch: epoch)
      return message.wishes
    }
    skippedInARow = 0
    updates += 1
    let rate = schedule.learningRate(step: step)
    clock.measure(.optimiser) { optimizer.apply(step: updates, learningRate: rate, norm: norm) }
    if job.config.shardOptimizer { try shareWeights() }
    try writer.check()
    let line = line(
      message, epoch: epoch, rate: rate, norm: norm, batch: batch, since: start,
      exposed: (clock.seconds[.communication] ?? 0) - waited)
    if cluster.isRoot { try metrics.append(line) }
    logEvents(line.scalars, step: line.step)
    newestMetrics = line
    note(line)
    return message.wishes
  }

  /// What this rank wants behind the step at hand.
  private var wishes: StepMessage.Wishes {
    let age = lastCheckpoint.time.duration(to: .now).inSeconds
    return .init(
      isToStop: stop.isMade, isCheckpointDue: cluster.isRoot && age >= 60 * job.config.checkpointMinutes)
  }

  /// Rows of the batch to come, and the target's answers to its first micro-batch: neither depends on the weights.
  private func prepare(_ next: [Int]?, withAnswers: Bool) throws {
    guard let next else { return }
    prepared = try work(on: next, leavingOut: job.leftOut)
    if withAnswers { try answerFirst() }
  }

  private func answerFirst() throws {
    guard let prepared, let first = prepared.parts.first else { return }
    prepared.first.question = try question(first)
  }

  func question(_ conversations: [Int]) throws -> Objective.Question {
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
    let tokens = batch.reduce(0) { $0 + (job.leftOut.contains($1) ? 0 : job.states.lengths[$1]) }
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

  /// Adds the gradients of this rank's share to the optimiser's buffer; in the last micro-batch's backward pass they
  /// start on their way to the other ranks.
  private func gradients(of work: Work) throws -> [StepSums] {
    var sums = [StepSums](repeating: StepSums(), count: objective.steps)
    for (index, part) in work.parts.enumerated() {
      let question = try work.first.take() ?? question(part)
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
      try rowCounts.add(conversation, to: &rows) {
        TrainedRows(
          mask: try job.mask?(conversation) ?? job.states.mask(conversation), steps: objective.steps)
      }
    }
    return rows
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
