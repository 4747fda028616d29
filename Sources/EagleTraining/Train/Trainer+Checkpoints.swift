import EagleRunFiles
import EagleStorage
import EagleTensor
import Foundation

extension Trainer {
  /// What the newest checkpoint says, if this run may go on from it. Settings that have changed on the way are
  /// recorded.
  func checkedInfo(_ checkpoint: Checkpoint) throws -> TrainingCheckpoint.Info {
    let info = try TrainingCheckpoint.info(checkpoint)
    let differences = try job.identity.changes(from: try info.identity(of: checkpoint.path), of: checkpoint.path)
    try RunChanges.set(differences, step: info.step, in: RunFolder(job.output).changes)
    for change in differences {
      progress.say("\(change.key) is \(change.to) from step \(info.step + 1) on, and was \(change.from)")
    }
    return info
  }

  /// Starts to write what a checkpoint holds. Collective.
  func checkpoint(of step: Int) throws {
    let steps = max(1, step - lastCheckpoint.step)
    lastCheckpoint = (step, .now)
    let before = clock.seconds[.checkpoint] ?? 0
    let moments = try clock.measure(.checkpoint) { try allMoments() }
    guard cluster.isRoot else { return }
    try clock.measure(.checkpoint) {
      try writer.finish()
      let info = TrainingCheckpoint.Info(
        step: step, updates: updates, skippedInARow: skippedInARow == 0 ? nil : skippedInARow, identity: job.identity,
        targetPath: job.target.path, targetFingerprint: job.target.fingerprint, draftShape: optimizer.draft.shape,
        draftVocabulary: optimizer.draft.vocabulary.targetIDs)
      try writer.start(TrainingCheckpoint.State(optimizer, moments: moments), info)
    }
    note(checkpoint: step, steps: steps, seconds: (clock.seconds[.checkpoint] ?? 0) - before)
  }

  /// What the copy, or the writing, and a wait for the checkpoint before have cost.
  private func note(checkpoint step: Int, steps: Int, seconds: Double) {
    guard let newestMetrics else { return }
    let stepSeconds = Double(newestMetrics.tokens) / newestMetrics.tokensPerSecond
    progress.say(
      String(
        format: "checkpoint of step %d: training waited %.3f s, %.1f %% of the time of %d steps", step, seconds,
        100 * seconds / (stepSeconds * Double(steps)), steps))
  }

  /// Both moments of all weights on rank 0; on other ranks they mean nothing where each has its own only. Between two
  /// steps the gradients' buffer is free for them: only rank 0 needs a buffer for one moment more. Collective.
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
  func waitForCheckpoint() throws {
    if cluster.isRoot { try writer.finish() }
    try cluster.barrier()
  }
}
