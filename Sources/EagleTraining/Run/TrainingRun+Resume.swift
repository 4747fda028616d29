import EagleCluster
import EagleCore
import EagleDraft
import EagleRunFiles
import EagleStorage

extension TrainingRun {
  /// Resumes from the newest valid checkpoint. Rank 0 reads for all. Collective.
  ///
  /// - Returns: whether there was one; without it the run starts at step 0
  @discardableResult
  package func resume() throws -> Bool {
    try resume(from: cluster.isRoot ? try CheckpointFolder.newestValid(in: output) { progress.say($0) } : nil)
  }

  /// - Parameter found: the newest valid checkpoint; nil on other ranks than 0, and if there is none
  @discardableResult
  package func resume(from found: Checkpoint?) throws -> Bool {
    let info = try found.map(checkedInfo)
    let state = try cluster.allReduceSum([
      found == nil ? 0 : 1, Int64(info?.step ?? 0), Int64(info?.updates ?? info?.step ?? 0),
      Int64(info?.skippedInARow ?? 0),
    ])
    engine.resume(step: Int(state[1]), updates: Int(state[2]))
    nonFinite.skippedInARow = Int(state[3])
    if state[0] > 0 { try TrainingCheckpoint.load(found, into: optimizer, cluster: cluster) }
    checkpoints.didResume(at: step)
    if let found { progress.say("resumed from \(found.name)") }
    try metrics.truncate(after: step)
    return state[0] > 0
  }

  /// The info of the newest checkpoint; throws unless this run may resume from it. Changed settings are recorded.
  private func checkedInfo(_ checkpoint: Checkpoint) throws -> TrainingCheckpoint.Info {
    let info = try TrainingCheckpoint.info(checkpoint)
    let differences = try inputs.identity.changes(from: try info.identity(of: checkpoint.path), of: checkpoint.path)
    guard info.draftShape == DraftDescription(engine.optimizer.draft.shape) else {
      throw LocatedError(
        path: checkpoint.path, problem: "its head has other sizes or another mask token than this run's",
        advice: "resume with the recipe and the prepared data that it was made with, or choose another output folder")
    }
    try RunChanges.set(differences, step: info.step, in: RunFolder(output).changes)
    for change in differences {
      progress.say("\(change.key) is \(change.to) from step \(info.step + 1) on, and was \(change.from)")
    }
    return info
  }
}
