import EagleCluster
import EagleCore
import EagleDraft
import EagleModels
import EagleRunFiles
import EagleTensor
import EagleText

/// Optimiser steps of a draft head, one at a time, on all ranks: states, objective, averaged gradients, optimiser.
///
/// It writes no file and reports no progress, so that a run, a plan and a benchmark can use it.
///
/// ```swift
/// let engine = try StepEngine(inputs, start: draft, totalSteps: plan.totalSteps, cluster: cluster)
/// for (batch, next) in zip(batches, batches.dropFirst()) {
///   let result = try engine.step(batch, next: next)
/// }
/// ```
package final class StepEngine {
  package let optimizer: AdamW
  /// The seconds of this rank by phase.
  package let clock = PhaseClock()
  /// The number of optimiser steps so far, including skipped ones.
  package private(set) var step = 0
  /// The number of steps that have changed the weights, for AdamW's bias correction.
  package private(set) var updates = 0
  let inputs: TrainingInputs
  let cluster: any Communicator
  let feed: ConversationFeed
  let objective: any Objective
  let buckets: GradientBuckets
  private let schedule: Schedule
  private let muon: Muon?
  private let costs: any ObjectiveCosts
  /// The epoch of the steps, which determines the sample of trained rows if not all rows are trained.
  package var epoch = 0
  /// The next batch, prepared during the gradient reduction.
  private var prepared: PreparedBatch?

  /// Collective.
  ///
  /// - Parameters:
  ///   - inputs: the data and settings of training
  ///   - start: the head to train; its weights are copied
  ///   - totalSteps: the length of the learning-rate schedule
  ///   - cluster: the ranks that take part
  /// - Throws: when no node has one of the store's shards
  package init(
    _ inputs: TrainingInputs, start: DraftModel, totalSteps: Int, cluster: any Communicator
  ) throws {
    let config = inputs.config
    let precision = config.precision
    self.inputs = inputs
    self.cluster = cluster
    feed = try ConversationFeed(inputs.states, cluster: cluster)
    optimizer = AdamW(start, config: config)
    let draft = optimizer.draft
    objective = draft.objective(
      tables: draft.tables(of: inputs.target),
      teacher: Teacher(target: inputs.target, vocabulary: start.vocabulary, precision: precision),
      settings: config.objective, clock: clock, tick: cluster.tick)
    schedule = Schedule(peak: config.learningRate, warmupRatio: config.warmupRatio, totalSteps: totalSteps)
    costs = draft.shape.costs(config.objective)
    buckets = GradientBuckets(
      optimizer.gradients, slices: optimizer.slices.map { ($0.variable, $0.range) }, cluster: cluster,
      wire: inputs.gradients, isSharded: config.shardOptimizer)
    if config.shardOptimizer { optimizer.own(buckets.ownRanges) }
    muon = config.optimizer == .muon ? Muon(optimizer, cluster: cluster) : nil
  }

  /// Resumes after a step of an earlier start, whose state is already in the optimiser.
  func resume(step: Int, updates: Int) { (self.step, self.updates) = (step, updates) }

  /// One optimiser step of all ranks. Collective.
  ///
  /// - Parameters:
  ///   - batch: conversations of the step
  ///   - next: the conversations of the next step, which are prepared during the gradient reduction
  ///   - requests: the requests of this rank after the step; called as late as possible
  package func step(
    _ batch: [Int], next: [Int]?, requests: () -> StepRequests = { StepRequests() }
  ) throws -> StepResult {
    let timer = StepTimer(clock)
    _ = cluster.takeAveragingCost()
    let batch = try takePrepared(batch)
    let coming = try next.map { try partition($0, leavingOut: inputs.leftOut, epoch: epoch) }
    let sums = try gradients(of: batch, before: coming)
    let busy = timer.secondsWithoutCommunication
    try buckets.allAreFinal()
    try prepare(coming)
    let message = try addUp(sums, of: batch, busy: busy, requests)
    let norm = try gradientNorm()
    step += 1
    let outcome = try finish(batch, message, norm: norm, timer)
    return StepResult(step: step, outcome: outcome, requests: message.requests)
  }

  /// Updates the weights, unless the loss or the gradient is not finite or no row is trained.
  private func finish(
    _ batch: PreparedBatch, _ message: StepMessage, norm: Double, _ timer: StepTimer
  ) throws -> StepResult.Outcome {
    guard norm.isFinite, message.sums.allSatisfy(\.isFinite) else {
      return .nonFinite(norm.isFinite ? .loss : .gradient, batch)
    }
    // Without a trained row there is no gradient, and AdamW would only apply its momentum.
    guard message.sums.contains(where: { $0.rows > 0 }) else { return .empty }
    updates += 1
    let rate = schedule.learningRate(step: step)
    clock.measure(.optimiser) {
      optimizer.apply(step: updates, learningRate: rate, norm: norm)
      muon?.apply(learningRate: rate, scale: optimizer.gradientScale(norm: norm))
    }
    if let muon { try clock.measure(.communication) { try muon.broadcastMatrices() } }
    if inputs.config.shardOptimizer { try gatherWeights() }
    let cost = cluster.takeAveragingCost()
    let communication = StepCommunication(
      seconds: cost.seconds, exposed: timer.communicationSeconds, bytesSent: cost.bytesSent,
      imbalance: message.imbalance)
    return .updated(
      StepUpdate(
        objective: objective.metrics(message.sums, leftOut: nil),
        learningRate: rate, gradientNorm: norm, tokens: tokens(of: batch), seconds: timer.seconds,
        communication: cluster.size > 1 ? communication : nil))
  }

  private func tokens(of batch: PreparedBatch) -> Int {
    batch.conversations.reduce(0) { $0 + (inputs.leftOut.contains($1) ? 0 : inputs.states.lengths[$1]) }
  }

  // MARK: batches

  /// This rank's part of a batch, after its conversations from other nodes were fetched. Collective.
  ///
  /// - Parameters:
  ///   - leftOut: the conversations of the batch that no rank trains
  ///   - epoch: selects the sample of trained rows; nil trains all rows
  ///   - isCut: whether a conversation may be split between ranks
  func prepare(
    _ batch: [Int], leavingOut leftOut: Set<Int>, epoch: Int?, isCut: Bool = true
  ) throws -> PreparedBatch {
    let prepared = try partition(batch, leavingOut: leftOut, epoch: epoch, isCut: isCut)
    try feed.fetch(prepared.parts, clock)
    return prepared
  }

  /// The same without a fetch from other nodes, and not collective.
  private func partition(
    _ batch: [Int], leavingOut leftOut: Set<Int>, epoch: Int?, isCut: Bool = true
  ) throws -> PreparedBatch {
    let (items, rows) = try clock.measure(.reading) {
      try work(of: batch.filter { !leftOut.contains($0) }, epoch: epoch)
    }
    let parts = BatchPartition(items, ranks: cluster.size, depths: objective.positions, isCut: isCut).parts
    let own = parts[cluster.rank]
    let tokens = own.map { $0.states ?? inputs.states.lengths[$0.conversation] }
    return PreparedBatch(
      batch, parts: parts,
      microBatches: BatchPlan.microBatches(own, tokens: tokens, limit: BatchPlan.microBatchTokens), globalRows: rows)
  }

  /// The work of each conversation, and N_k of all of them.
  private func work(of conversations: [Int], epoch: Int?) throws -> ([BatchPartition.Item], [Double]) {
    var rows = [Double](repeating: 0, count: objective.positions)
    let online = inputs.states.onlineOperations
    let items = try conversations.map { conversation in
      let mask = try inputs.mask(conversation)
      for (k, count) in objective.rowCounts(conversation: conversation, mask: mask, epoch: epoch).enumerated() {
        rows[k] += Double(count)
      }
      var work = costs.work(mask: mask, samples: epoch != nil)
      online?.add(to: &work)
      return BatchPartition.Item(conversation, work, length: mask.count)
    }
    return (items, rows)
  }

  /// The prepared batch, or a new one if none was prepared for these conversations. Collective in the second case.
  private func takePrepared(_ batch: [Int]) throws -> PreparedBatch {
    defer { prepared = nil }
    if let prepared, prepared.conversations == batch { return prepared }
    return try prepare(batch, leavingOut: inputs.leftOut, epoch: epoch)
  }

  /// Discards the prepared batch.
  func forgetPrepared() { prepared = nil }

  /// Fetches the next batch's conversations from other nodes, and computes the teacher targets of its first
  /// micro-batch, which do not depend on the weights. With a sharded optimiser, the targets are computed later, during
  /// the all-gather of the weights. Collective.
  private func prepare(_ coming: PreparedBatch?) throws {
    guard let coming else { return }
    try feed.fetch(coming.parts, clock)
    prepared = coming
    if !inputs.config.shardOptimizer { try prepareFirst() }
  }

  private func prepareFirst() throws {
    guard let prepared, let first = prepared.microBatches.first else { return }
    prepared.keep(first: try load(first, epoch: epoch))
  }

  /// Reads parts of conversations and computes their teacher targets.
  ///
  /// - Parameter epoch: selects the sample of trained rows; nil trains all rows
  func load(_ parts: [ConversationPart], epoch: Int?) throws -> any ObjectiveBatch {
    objective.batch(parts, try read(parts, epoch: epoch), epoch: epoch)
  }

  /// The same for all rows of these conversations, with one batch for each.
  func loadEach(_ parts: [ConversationPart]) throws -> [any ObjectiveBatch] {
    zip(parts, try read(parts, epoch: nil)).map { objective.batch([$0], [$1], epoch: nil) }
  }

  private func read(_ parts: [ConversationPart], epoch: Int?) throws -> [CapturedConversation] {
    var conversations = try feed.read(parts, clock)
    if let epoch, inputs.config.stateNoise > 0 {
      let noise = StateNoise(share: Float(inputs.config.stateNoise), seed: inputs.config.seed, epoch: epoch)
      conversations = zip(conversations, parts).map { noise.applied(to: $0, number: $1.conversation) }
    }
    return conversations
  }

  // MARK: gradients

  /// Adds this rank's gradients to the optimiser's buffer. The reduction of the gradients starts during the backward
  /// pass of the last micro-batch. Each micro-batch is prefetched while the previous one is computed.
  private func gradients(of batch: PreparedBatch, before coming: PreparedBatch?) throws -> [PositionSums] {
    clock.measure(.optimiser) { optimizer.clearGradients() }
    buckets.begin()
    var sums = objective.noSums
    for (index, part) in batch.microBatches.enumerated() {
      let micro = try batch.takeFirst() ?? load(part, epoch: epoch)
      let isLast = index + 1 == batch.microBatches.count
      if let following = isLast ? coming?.microBatches.first : batch.microBatches[index + 1] {
        feed.prefetch(following)
      }
      let counted = try micro.run(globalRows: batch.globalRows, recording: true) {
        if isLast { try buckets.isFinal($0) }
      }
      sums = zip(sums, counted).map { $0 + $1 }
      cluster.tick()
    }
    return sums
  }

  /// The sums and requests of all ranks. Returns once the gradients are averaged too. Collective.
  private func addUp(
    _ sums: [PositionSums], of batch: PreparedBatch, busy: Double, _ requests: () -> StepRequests
  ) throws -> StepMessage {
    let message = try clock.measure(.communication) {
      try StepMessage(sums, busy: busy, requests: requests(), cluster).addedUp()
    }
    try clock.measure(.communication) { try buckets.wait() }
    try requireWholeBatch(message.sums, batch)
    return message
  }

  /// Throws if the ranks together have not trained each row of the batch exactly once, which equal partitions
  /// guarantee.
  private func requireWholeBatch(_ sums: [PositionSums], _ batch: PreparedBatch) throws {
    guard inputs.config.objective.mean == .tokens, sums.map(\.rows) != batch.globalRows else { return }
    throw LocatedError(
      path: "step \(step + 1)", problem: "ranks have trained \(sums.map(\.rows)) rows of \(batch.globalRows)",
      advice: "check that all ranks run the same program on the same prepared data")
  }

  /// The norm of the averaged gradient. Collective if the optimiser is sharded.
  private func gradientNorm() throws -> Double {
    let own = clock.measure(.optimiser) { optimizer.sumOfSquares(optimizer.owned) }
    guard inputs.config.shardOptimizer else { return own.squareRoot() }
    return try clock.measure(.communication) { try cluster.allReduceSum([own])[0] }.squareRoot()
  }

  /// All-gather of the weights that each rank has updated. The next batch's teacher targets are computed meanwhile.
  private func gatherWeights() throws {
    let start = ContinuousClock.now
    var computing = 0.0
    try buckets.allGather(optimizer.weights) {
      computing = try ContinuousClock().measure { try prepareFirst() }.inSeconds
    }
    clock.add(start.duration(to: .now).inSeconds - computing, to: .communication)
    optimizer.weightsHaveChanged()
  }
}

/// The seconds since the start of a step, and how many of them were communication.
private struct StepTimer {
  private let start = ContinuousClock.now
  private let clock: PhaseClock
  private let before: Double

  init(_ clock: PhaseClock) {
    self.clock = clock
    before = clock.seconds[.communication] ?? 0
  }

  var seconds: Double { start.duration(to: .now).inSeconds }
  var communicationSeconds: Double { (clock.seconds[.communication] ?? 0) - before }
  var secondsWithoutCommunication: Double { seconds - communicationSeconds }
}
