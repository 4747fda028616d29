import EagleCluster
import EagleCore
import EagleDraft
import EagleRunFiles
import EagleStorage
import Foundation

/// Writes the state of a run to step folders, and reports how long training has waited for it.
final class CheckpointSaver: StepObserver {
  private(set) var schedule: CheckpointSchedule
  private let engine: StepEngine
  private let output: String
  private let progress: any ProgressSink
  private let writer: CheckpointWriter
  /// The duration of the last step that has changed the weights, in seconds; nil before the first.
  private var stepSeconds: Double?
  private var cluster: any Communicator { engine.cluster }

  init(_ engine: StepEngine, output: String, progress: any ProgressSink) {
    let config = engine.inputs.config
    (self.engine, self.output, self.progress) = (engine, output, progress)
    schedule = CheckpointSchedule(config)
    writer = CheckpointWriter(parent: output, keep: config.keepCheckpoints) { progress.say($0) }
  }

  /// Throws if the last write has failed.
  func didUpdate(_ metrics: StepMetrics) throws {
    try writer.check()
    stepSeconds = Double(metrics.tokens) / metrics.tokensPerSecond
  }

  /// Records that the run has resumed from a checkpoint.
  func didResume(at step: Int) { schedule.note(step: step) }

  /// Starts to write a checkpoint. Collective.
  ///
  /// - Parameters:
  ///   - step: the step whose state it is
  ///   - skippedInARow: the number of consecutive skipped steps up to it
  func save(step: Int, skippedInARow: Int) throws {
    let clock = engine.clock
    let steps = schedule.steps(upTo: step)
    schedule.note(step: step)
    let before = clock.seconds[.checkpoint] ?? 0
    try clock.measure(.checkpoint) { try write(info(step: step, skippedInARow: skippedInARow)) }
    guard cluster.isRoot else { return }
    note(step: step, steps: steps, seconds: (clock.seconds[.checkpoint] ?? 0) - before)
  }

  /// Starts to write. With a sharded optimiser it is collective: the ranks send their moments in parts, and it returns
  /// after the last.
  private func write(_ info: TrainingCheckpoint.Info) throws {
    let optimizer = engine.optimizer
    guard engine.inputs.config.shardOptimizer else {
      guard cluster.isRoot else { return }
      try writer.finish()
      return try writer.start(TrainingCheckpoint.State(optimizer), info)
    }
    let moments = MomentBuckets(optimizer, engine.buckets)
    guard cluster.isRoot else { return try moments.send() }
    try writer.finish()
    let unchanged = UncheckedSendable(optimizer)
    try writer.start(waits: true) { [output] in
      try TrainingCheckpoint.write(unchanged.value, moments: moments, info, parent: output)
    }
  }

  /// A value that one thread passes to another and does not use until that thread is done.
  private struct UncheckedSendable<Value>: @unchecked Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
  }

  private func info(step: Int, skippedInARow: Int) -> TrainingCheckpoint.Info {
    let (inputs, draft) = (engine.inputs, engine.optimizer.draft)
    return TrainingCheckpoint.Info(
      step: step, updates: engine.updates, skippedInARow: skippedInARow == 0 ? nil : skippedInARow,
      identity: inputs.identity, targetPath: inputs.target.path, targetFingerprint: inputs.target.fingerprint,
      targetContext: inputs.target.shape.maxPositions,
      draftShape: DraftDescription(draft.shape), draftVocabulary: draft.vocabulary.targetIDs)
  }

  /// Reports the time of the copy or the write, and of the wait for the previous checkpoint.
  private func note(step: Int, steps: Int, seconds: Double) {
    guard let stepSeconds else { return }
    progress.say(
      String(
        format: "checkpoint of step %d: training waited %.3f s, %.1f %% of the time of %d steps", step, seconds,
        100 * seconds / (stepSeconds * Double(steps)), steps))
  }

  /// Makes the state of a step the newest checkpoint, although later steps were skipped. Collective.
  func keep(step good: Int) throws {
    try wait()
    let folder = "\(output)/\(CheckpointFolder.name(step: good))"
    let isThere = try cluster.anyTrue(cluster.isRoot && FileManager.default.fileExists(atPath: folder))
    if !isThere { try save(step: good, skippedInARow: 0) }
    try wait()
    if cluster.isRoot { try CheckpointFolder.remove(after: good, in: output) }
  }

  /// Returns once the last checkpoint is on disk. Collective.
  func wait() throws {
    if cluster.isRoot { try writer.finish() }
    try cluster.barrier()
  }
}
