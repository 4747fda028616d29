import EagleChat
import EagleRunFiles
import Foundation

// K steps.

extension Trainer {
  /// Tokens of the held-out conversations.
  package var heldOutTokens: Int { job.heldOut.reduce(0) { $0 + job.states.lengths[$1] } }

  /// A batch of held-out conversations that is done, the same on all ranks.
  private struct HeldOutBatch: Codable {
    var batch: Int
    /// Sums by step over all ranks.
    var sums: [StepSums]
    /// Conversations with non-finite values, which count nowhere.
    var leftOut: [Int]
  }

  /// Teacher-forced loss and accuracy on the held-out conversations; nil when there are none. Collective.
  ///
  /// Conversations whose values are not finite are named, left out and counted.
  ///
  /// - Parameter journal: where batches that are done are kept, and those of an earlier start found
  /// - Throws: `StoppedRun` when a stop was asked for, behind the micro-batch at hand
  package func heldOutMetrics(journal: EvaluationJournal? = nil) throws -> ObjectiveMetrics? {
    guard !job.heldOut.isEmpty else { return nil }
    var done = try heldOutBefore(journal)
    let batches = BatchPlan.cut(job.heldOut, job.states.lengths, job.config.tokensPerBatch)
    for (index, batch) in batches.enumerated() where done[index] == nil {
      let own = try heldOutBatch(index, batch)
      try stop.throwIfAnyRankStops(cluster, during: "evaluate, on held-out conversations")
      let all = try added(own)
      done[index] = all
      if cluster.isRoot { try journal?.append(all, "held-out", rank: 0) }
    }
    let all = batches.indices.compactMap { done[$0] }
    let sums = all.reduce([StepSums](repeating: StepSums(), count: objective.steps)) { sums, batch in
      zip(sums, batch.sums).map { $0 + $1 }
    }
    let leftOut = all.flatMap(\.leftOut).sorted()
    if !leftOut.isEmpty {
      progress.say(
        "held out: \(leftOut.count) conversations with non-finite values are left out: "
          + leftOut.prefix(5).map(job.name).joined(separator: ", ") + (leftOut.count > 5 ? ", …" : ""))
    }
    return ObjectiveMetrics(sums, weights: sums.indices.map(objective.weight), leftOut: leftOut.count)
  }

  /// What rank 0 finds of an earlier start. Collective.
  private func heldOutBefore(_ journal: EvaluationJournal?) throws -> [Int: HeldOutBatch] {
    guard let journal else { return [:] }
    let own = cluster.isRoot ? try JSONEncoder().encode(journal.read("held-out", HeldOutBatch.self)) : Data()
    let all = try JSONDecoder().decode([HeldOutBatch].self, from: try cluster.broadcast(data: own))
    return Dictionary(all.map { ($0.batch, $0) }, uniquingKeysWith: { $1 })
  }

  /// This rank's share of a batch. Collective.
  private func heldOutBatch(_ index: Int, _ batch: [Int]) throws -> HeldOutBatch {
    var result = HeldOutBatch(
      batch: index, sums: [StepSums](repeating: StepSums(), count: objective.steps), leftOut: [])
    for part in try work(on: batch, leavingOut: []).parts where !stop.isMade {
      var sums = try heldOutSums(part)
      if !sums.allSatisfy(\.isFinite) {
        sums = [StepSums](repeating: StepSums(), count: objective.steps)
        for conversation in part {
          let alone = try heldOutSums([conversation])
          if alone.allSatisfy(\.isFinite) {
            sums = zip(sums, alone).map { $0 + $1 }
          } else {
            result.leftOut.append(conversation)
          }
        }
      }
      result.sums = zip(result.sums, sums).map { $0 + $1 }
    }
    return result
  }

  private func heldOutSums(_ conversations: [Int]) throws -> [StepSums] {
    defer { cluster.tick() }
    let ones = [Double](repeating: 1, count: objective.steps)
    return objective.run(try question(conversations), globalRows: ones, recording: false)
  }

  /// Sums and conversations of all ranks. Collective.
  private func added(_ own: HeldOutBatch) throws -> HeldOutBatch {
    var all = HeldOutBatch(batch: own.batch, sums: own.sums.map { _ in StepSums() }, leftOut: [])
    for data in try cluster.gather(try JSONEncoder().encode(own)) {
      let part = try JSONDecoder().decode(HeldOutBatch.self, from: data)
      all.sums = zip(all.sums, part.sums).map { $0 + $1 }
      all.leftOut += part.leftOut
    }
    return all
  }
}
