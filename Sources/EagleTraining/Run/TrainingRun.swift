import EagleChat
import EagleCluster
import EagleCore
import EagleDraft
import EagleModels
import EagleRunFiles
import EagleStorage
import EagleTensor
import Foundation

/// The training of a run, epoch by epoch: steps, checkpoints, and the files that record both.
///
/// ```swift
/// let training = try TrainingRun(inputs, start: draft, output: folder, cluster: cluster, progress: progress)
/// if try !training.resume() { try training.begin() }
/// for epoch in 0..<epochs where training.step < training.plan.lastStep(ofEpoch: epoch) {
///   try training.train(epoch: epoch)
/// }
/// ```
package final class TrainingRun {
  package let engine: StepEngine
  package let plan: BatchPlan
  package let progressLine: ProgressLine
  let output: String
  let progress: any ProgressSink
  let stop: StopRequest
  let checkpoints: CheckpointSaver
  let metrics: MetricsLog
  private let tensorBoard: TensorBoardLog
  private let timing: TimingRecorder
  var nonFinite: NonFinitePolicy
  private var observers: [any StepObserver] { [checkpoints, metrics, tensorBoard, progressLine] }
  var inputs: TrainingInputs { engine.inputs }
  var cluster: any Communicator { engine.cluster }

  /// The number of optimiser steps so far, including skipped ones.
  package var step: Int { engine.step }
  package var optimizer: AdamW { engine.optimizer }

  /// Collective.
  ///
  /// - Parameters:
  ///   - inputs: the data and settings of training
  ///   - start: the head to train; its weights are copied
  ///   - output: the folder of the run
  ///   - cluster: the ranks that take part
  ///   - progress: receives the progress of every step
  ///   - stop: checked in every step
  /// - Throws: when no node has one of the store's shards
  package init(
    _ inputs: TrainingInputs, start: DraftModel, output: String, cluster: any Communicator,
    progress: any ProgressSink, stop: StopRequest = StopRequest()
  ) throws {
    plan = BatchPlan(inputs)
    engine = try StepEngine(inputs, start: start, totalSteps: plan.totalSteps, cluster: cluster)
    (self.output, self.progress, self.stop) = (output, progress, stop)
    checkpoints = CheckpointSaver(engine, output: output, progress: progress)
    metrics = MetricsLog(output: output, cluster: cluster)
    tensorBoard = TensorBoardLog(inputs, output: output, cluster: cluster, progress: progress)
    progressLine = ProgressLine(progress, totalSteps: plan.totalSteps)
    timing = TimingRecorder(path: RunFolder(output).timing, cluster: cluster, clock: engine.clock)
    nonFinite = NonFinitePolicy(inputs.config)
  }

  /// Computes the feature rates, and writes them and the first weights as the checkpoint of step 0, so that a restart
  /// does not compute them again. Records of an earlier run in the folder are removed before. Collective.
  package func begin() throws {
    if cluster.isRoot { try RunFolder(output).removeRecordsOfEarlierRun() }
    try findFeatureRates()
    try checkpoints.save(step: 0, skippedInARow: nonFinite.skippedInARow)
    try checkpoints.wait()
  }

  private func findFeatureRates() throws {
    try engine.findFeatureRates(stop: stop) { [progress, inputs] in
      progress.say("feature sizes: left out, with non-finite values: \(inputs.name($0))")
    }
  }

  /// Runs the rest of epoch `epoch` (from 0) and leaves a checkpoint at its end. Collective.
  ///
  /// - Throws: `StoppedRun` when a stop was requested, after the current step, with a checkpoint
  package func train(epoch: Int) throws {
    Storage.releaseUnused()  // memory of the start, or of the last evaluation
    try findFeatureRates()
    let first = plan.lastStep(ofEpoch: epoch - 1)
    let batches = plan.epochs[epoch]
    engine.epoch = epoch
    try timing.open(after: step)
    tensorBoard.open(after: step)
    for (index, batch) in batches.enumerated() where first + index >= step {
      let next = index + 1 < batches.count ? batches[index + 1] : nil
      let result = try engine.step(batch, next: next) { requests }
      try report(result, epoch: epoch)
      let isLast = next == nil || result.requests.isStopRequested
      if isLast || isCheckpointDue(result) {
        try checkpoints.save(step: step, skippedInARow: nonFinite.skippedInARow)
      }
      if isLast {
        try checkpoints.wait()
        try timing.close(epoch: epoch + 1, step: step)
      }
      if result.requests.isStopRequested { try throwStopped() }
    }
  }

  /// The requests of this rank after the current step.
  private var requests: StepRequests {
    StepRequests(
      isStopRequested: stop.isMade, isCheckpointRequested: cluster.isRoot && checkpoints.schedule.isDueByTime)
  }

  /// Passes a step to the observers.
  private func report(_ result: StepResult, epoch: Int) throws {
    switch result.outcome {
    case .updated(let update):
      nonFinite.skippedInARow = 0
      let metrics = StepMetrics(update, step: result.step, epoch: epoch)
      for observer in observers { try observer.didUpdate(metrics) }
    case .nonFinite(let quantity, let batch):
      try skip(
        SkippedStep(
          step: result.step, epoch: epoch + 1, skipped: "the \(quantity.rawValue) is not finite",
          conversations: try engine.culprits(of: batch).map(inputs.name)))
    case .empty:
      nonFinite.noteEmptyStep()
      let empty = SkippedStep(
        step: result.step, epoch: epoch + 1, skipped: "no conversation of the batch is trained", conversations: [])
      for observer in observers { try observer.didSkip(empty) }
    }
  }

  /// Skips a step. Too many in a row end the run with a checkpoint from before them. Collective.
  private func skip(_ skipped: SkippedStep) throws {
    for observer in observers { try observer.didSkip(skipped) }
    progress.say("step \(skipped.step) is left out: \(skipped.skipped); \(NonFinitePolicy.names(skipped))")
    guard case .giveUp(let lastGood, let error) = try nonFinite.decide(on: skipped) else { return }
    try checkpoints.keep(step: lastGood)
    throw error(output)
  }

  /// No checkpoint is due after a skipped step, which changes nothing.
  private func isCheckpointDue(_ result: StepResult) -> Bool {
    nonFinite.skippedInARow == 0
      && (result.requests.isCheckpointRequested || checkpoints.schedule.isDue(atStep: result.step))
  }

  private func throwStopped() throws {
    stop.make("another rank")
    try stop.throwIfMade(during: "training, after step \(step)")
  }

  /// Loss and accuracy on the held-out conversations; nil if there are none. Collective.
  ///
  /// - Parameter journal: stores measured batches, and provides those of earlier starts
  package func heldOutMetrics(journal: EvaluationJournal? = nil) throws -> ObjectiveMetrics? {
    try HeldOutEvaluation(engine, progress: progress, stop: stop).run(journal: journal)
  }

  /// Passes an evaluation of the run to the observers.
  package func didEvaluate(_ record: EvaluationRecord) {
    for observer in observers { observer.didEvaluate(record) }
  }
}
