import EagleCore
import EagleRunFiles
import EagleStorage
import Foundation

// Values that are not finite.
extension Trainer {
  /// Leaves the step out: weights and moments stay. Too many in a row end the run with a checkpoint from before them.
  /// Collective.
  func skip(_ work: Work, epoch: Int, what: String) throws {
    skippedInARow += 1
    let culprits = try culprits(work).map(job.name)
    let skipped = SkippedStep(
      step: step, epoch: epoch + 1, skipped: "the \(what) is not finite", conversations: culprits)
    if cluster.isRoot { try metrics.append(skipped) }
    let names =
      culprits.isEmpty ? "no conversation shows it alone" : "conversations: \(culprits.joined(separator: ", "))"
    progress.say("step \(step) is left out: \(skipped.skipped); \(names)")
    guard skippedInARow > job.config.maxSkippedSteps else { return }
    let count = skippedInARow
    let good = try keepStateBeforeSkipped()
    let list = String(decoding: try JSONEncoder().encode(job.config.leaveOut + culprits), as: UTF8.self)
    let remedy =
      culprits.isEmpty ? "lower train.learning_rate" : "set train.leave_out to \(list), or lower train.learning_rate"
    throw LocatedError(
      path: job.output, problem: "\(count) steps in a row up to step \(step) had non-finite values; \(names)",
      advice: "the weights of step \(good) are kept; \(remedy), and start again: the run goes on from there")
  }

  /// Leaves the state before the first of the skipped steps as the newest checkpoint, and returns its step. Collective.
  private func keepStateBeforeSkipped() throws -> Int {
    let good = step - skippedInARow
    try waitForCheckpoint()
    let folder = "\(job.output)/\(CheckpointFolder.name(step: good))"
    let isThere = try cluster.anyTrue(cluster.isRoot && FileManager.default.fileExists(atPath: folder))
    skippedInARow = 0  // of the state that is written, or was
    if !isThere { try checkpoint(of: good) }
    try waitForCheckpoint()
    if cluster.isRoot { try CheckpointFolder.remove(after: good, in: job.output) }
    return good
  }

  /// A step none of whose conversations is trained on.
  func noteEmpty(epoch: Int) throws {
    let line = SkippedStep(
      step: step, epoch: epoch + 1, skipped: "no conversation of the batch is trained", conversations: [])
    if cluster.isRoot { try metrics.append(line) }
  }

  /// Conversations of the batch whose loss or gradient is not finite when they are run alone. Spoils the gradients.
  /// Collective.
  private func culprits(_ work: Work) throws -> [Int] {
    // What came from other nodes for this batch has made way for the next one's.
    try feed.fetch(shares(of: work.batch, leavingOut: job.leftOut))
    defer { forgetPrepared() }
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
}
