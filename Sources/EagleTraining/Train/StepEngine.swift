import EagleCluster
import EagleCore
import EagleDraft
import EagleModels
import EagleRunFiles
import EagleTensor
import EagleText

/// Optimiser steps of a draft head, one at a time, on all ranks: states, objective, averaged gradients, optimiser.
///
/// It writes no file and reports no progress: a run, a plan and a benchmark drive it alike.
///
/// ```swift
/// let engine = try StepEngine(inputs, start: draft, totalSteps: plan.totalSteps, cluster: cluster)
/// for (batch, next) in zip(batches, batches.dropFirst()) {
///   let result = try engine.step(batch, next: next)
/// }
/// ```
package final class StepEngine {
  package let optimizer: AdamW
  /// Seconds of this rank by phase.
  package let clock = PhaseClock()
  /// Optimiser steps done, skipped ones included.
  package private(set) var step = 0
  /// Steps that have changed the weights: what AdamW's bias correction counts.
  package private(set) var updates = 0
  let inputs: TrainingInputs
  let cluster: any Communicator
  let feed: ConversationFeed
  let objective: any Objective
  let buckets: GradientBuckets
  private let schedule: Schedule
  private let muon: Muon?
  private let costs: any ObjectiveCosts
  /// The epoch of the steps, which decides what is trained where that is not everything.
  package var epoch = 0
  /// The next batch, begun while gradients were on their way.
  private var prepared: PreparedBatch?

  /// Collective.
  ///
  /// - Parameters:
  ///   - inputs: what to train on
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

  /// Goes on behind a step of an earlier start, whose state the optimiser holds.
  func resume(step: Int, updates: Int) { (self.step, self.updates) = (step, updates) }

  /// One optimiser step of all ranks. Collective.
  ///
  /// - Parameters:
  ///   - batch: conversations of the step
  ///   - next: conversations of the step after it, which are prepared while gradients are on their way
  ///   - requests: what this rank requests behind the step; called as late as possible
  package func step(
    _ batch: [Int], next: [Int]?, requests: () -> StepRequests = { StepRequests() }
  ) throws -> StepResult {
    let timer = StepTimer(clock)
    _ = cluster.takeAveragingCost()
    let batch = try takePrepared(batch)
    let sums = try gradients(of: batch)
    let busy = timer.secondsWithoutCommunication
    try buckets.allAreFinal()
    try prepare(next: next)
    let message = try addUp(sums, of: batch, busy: busy, requests)
    let norm = try gradientNorm()
    step += 1
    let outcome = try finish(batch, message, norm: norm, timer)
    return StepResult(step: step, outcome: outcome, requests: message.requests)
  }

  /// Updates the weights, unless the numbers forbid it.
  private func finish(
    _ batch: PreparedBatch, _ message: StepMessage, norm: Double, _ timer: StepTimer
  ) throws -> StepResult.Outcome {
    guard norm.isFinite, message.sums.allSatisfy(\.isFinite) else {
      return .nonFinite(norm.isFinite ? .loss : .gradient, batch)
    }
    // Without a row there is no gradient, and AdamW would only follow its momentum.
    guard message.sums.contains(where: { $0.rows > 0 }) else { return .empty }
    updates += 1
    let rate = schedule.learningRate(step: step)
    clock.measure(.optimiser) {
      optimizer.apply(step: updates, learningRate: rate, norm: norm)
      muon?.apply(learningRate: rate, scale: optimizer.gradientScale(norm: norm))
    }
    if let muon { try clock.measure(.communication) { try muon.exchange() } }
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

  /// This rank's part of a batch, with what it needs from other nodes at hand. Collective.
  ///
  /// - Parameters:
  ///   - leftOut: conversations of the batch that nobody works on
  ///   - epoch: decides what is trained where that is not everything; nil for everything
  ///   - isCut: whether ranks may share a conversation
  func prepare(
    _ batch: [Int], leavingOut leftOut: Set<Int>, epoch: Int?, isCut: Bool = true
  ) throws -> PreparedBatch {
    let (items, rows) = try clock.measure(.reading) {
      try work(of: batch.filter { !leftOut.contains($0) }, epoch: epoch)
    }
    let parts = BatchPartition(items, ranks: cluster.size, depths: objective.positions, isCut: isCut).parts
    try feed.fetch(parts, clock)
    let own = parts[cluster.rank]
    let tokens = own.map { $0.states ?? inputs.states.lengths[$0.conversation] }
    return PreparedBatch(
      batch, parts: parts,
      microBatches: BatchPlan.microBatches(own, tokens: tokens, limit: BatchPlan.microBatchTokens), globalRows: rows)
  }

  /// The work that conversations are, and N_k of all of them.
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

  /// What was prepared for this batch, or the same anew. Collective in the second case.
  private func takePrepared(_ batch: [Int]) throws -> PreparedBatch {
    defer { prepared = nil }
    if let prepared, prepared.conversations == batch { return prepared }
    return try prepare(batch, leavingOut: inputs.leftOut, epoch: epoch)
  }

  /// Lets the next batch be read again.
  func forgetPrepared() { prepared = nil }

  /// The rows of the next batch, and the teacher targets of its first micro-batch: neither depends on the weights.
  /// A sharded optimiser computes the targets later, while weights are on their way.
  private func prepare(next: [Int]?) throws {
    guard let next else { return }
    prepared = try prepare(next, leavingOut: inputs.leftOut, epoch: epoch)
    if !inputs.config.shardOptimizer { try prepareFirst() }
  }

  private func prepareFirst() throws {
    guard let prepared, let first = prepared.microBatches.first else { return }
    prepared.keep(first: try load(first, epoch: epoch))
  }

  /// Reads parts of conversations and computes their teacher targets.
  ///
  /// - Parameter epoch: decides what is trained where that is not everything; nil for everything
  func load(_ parts: [ConversationPart], epoch: Int?) throws -> any ObjectiveBatch {
    objective.batch(parts, try read(parts, epoch: epoch), epoch: epoch)
  }

  /// The same of all rows of these conversations, each by itself.
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

  /// Adds this rank's gradients to the optimiser's buffer; those of the last micro-batch start on their way to the
  /// other ranks during its backward pass.
  private func gradients(of batch: PreparedBatch) throws -> [PositionSums] {
    clock.measure(.optimiser) { optimizer.clearGradients() }
    buckets.begin()
    var sums = objective.noSums
    for (index, part) in batch.microBatches.enumerated() {
      let micro = try batch.takeFirst() ?? load(part, epoch: epoch)
      let isLast = index + 1 == batch.microBatches.count
      let counted = try micro.run(globalRows: batch.globalRows, recording: true) {
        if isLast { try buckets.isFinal($0) }
      }
      sums = zip(sums, counted).map { $0 + $1 }
      cluster.tick()
    }
    return sums
  }

  /// The sums and requests of all ranks; returns once the gradients are averaged, too. Collective.
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

  /// Throws when the ranks together have not trained each row of the batch once, which follows from their partitions.
  private func requireWholeBatch(_ sums: [PositionSums], _ batch: PreparedBatch) throws {
    guard inputs.config.objective.mean == .tokens, sums.map(\.rows) != batch.globalRows else { return }
    throw LocatedError(
      path: "step \(step + 1)", problem: "ranks have trained \(sums.map(\.rows)) rows of \(batch.globalRows)",
      advice: "check that all ranks run the same program on the same prepared data")
  }

  /// The norm of the averaged gradient. Collective when the optimiser is sharded.
  private func gradientNorm() throws -> Double {
    let own = clock.measure(.optimiser) { optimizer.sumOfSquares(optimizer.owned) }
    guard inputs.config.shardOptimizer else { return own.squareRoot() }
    return try clock.measure(.communication) { try cluster.allReduceSum([own])[0] }.squareRoot()
  }

  /// All-gather of the weights that each rank has updated. The next batch's teacher targets are computed meanwhile.
  private func gatherWeights() throws {
    let start = ContinuousClock.now
    var computing = 0.0
    try buckets.gather(optimizer.weights) {
      computing = try ContinuousClock().measure { try prepareFirst() }.inSeconds
    }
    clock.add(start.duration(to: .now).inSeconds - computing, to: .communication)
    optimizer.weightsHaveChanged()
  }
}

/// Seconds since a step began, and how many of them went into communication.
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
