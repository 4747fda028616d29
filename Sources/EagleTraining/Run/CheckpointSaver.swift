import EagleCluster
import EagleCore
import EagleDraft
import EagleRunFiles
import EagleStorage
import Foundation

/// Writes the state of a run into step folders, and says what training has waited for that.
final class CheckpointSaver: StepObserver {
  private(set) var schedule: CheckpointSchedule
  private let engine: StepEngine
  private let output: String
  private let progress: any ProgressSink
  private let writer: CheckpointWriter
  /// Seconds of the last step that has changed the weights; nil before the first.
  private var stepSeconds: Double?
  private var cluster: any Communicator { engine.cluster }

  init(_ engine: StepEngine, output: String, progress: any ProgressSink) {
    let config = engine.inputs.config
    (self.engine, self.output, self.progress) = (engine, output, progress)
    schedule = CheckpointSchedule(config)
    writer = CheckpointWriter(parent: output, keep: config.keepCheckpoints) { progress.say($0) }
  }

  /// Throws when the last write has failed.
  func didUpdate(_ metrics: StepMetrics) throws {
    try writer.check()
    stepSeconds = Double(metrics.tokens) / metrics.tokensPerSecond
  }

  /// Notes that the run goes on from a checkpoint.
  func didResume(at step: Int) { schedule.note(step: step) }

  /// Starts to write what a checkpoint holds. Collective.
  ///
  /// - Parameters:
  ///   - step: the step whose state it is
  ///   - skippedInARow: steps up to it that were skipped
  func save(step: Int, skippedInARow: Int) throws {
    let clock = engine.clock
    let steps = schedule.steps(upTo: step)
    schedule.note(step: step)
    let before = clock.seconds[.checkpoint] ?? 0
    let moments = try clock.measure(.checkpoint) { try engine.gatherMoments() }
    guard cluster.isRoot else { return }
    try clock.measure(.checkpoint) {
      try writer.finish()
      try writer.start(
        TrainingCheckpoint.State(engine.optimizer, moments: moments), info(step: step, skippedInARow: skippedInARow))
    }
    note(step: step, steps: steps, seconds: (clock.seconds[.checkpoint] ?? 0) - before)
  }

  private func info(step: Int, skippedInARow: Int) -> TrainingCheckpoint.Info {
    let (inputs, draft) = (engine.inputs, engine.optimizer.draft)
    return TrainingCheckpoint.Info(
      step: step, updates: engine.updates, skippedInARow: skippedInARow == 0 ? nil : skippedInARow,
      identity: inputs.identity, targetPath: inputs.target.path, targetFingerprint: inputs.target.fingerprint,
      draftShape: DraftDescription(draft.shape), draftVocabulary: draft.vocabulary.targetIDs)
  }

  /// Says what the copy, or the writing, and a wait for the checkpoint before have cost.
  private func note(step: Int, steps: Int, seconds: Double) {
    guard let stepSeconds else { return }
    progress.say(
      String(
        format: "checkpoint of step %d: training waited %.3f s, %.1f %% of the time of %d steps", step, seconds,
        100 * seconds / (stepSeconds * Double(steps)), steps))
  }

  /// Leaves the state of a step as the newest checkpoint, though later steps were skipped. Collective.
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
