import EagleChat
import EagleCluster
import EagleCore
import EagleDraft
import EagleRunFiles
import EagleStorage
import Foundation

// K drafted positions.

/// Teacher-forced loss and accuracy on the held-out conversations, batch by batch.
///
/// Conversations whose values are not finite are named, left out and counted.
package struct HeldOutEvaluation {
  private let engine: StepEngine
  private let progress: any ProgressSink
  private let stop: StopRequest
  private var inputs: TrainingInputs { engine.inputs }
  private var cluster: any Communicator { engine.cluster }

  package init(_ engine: StepEngine, progress: any ProgressSink, stop: StopRequest = StopRequest()) {
    (self.engine, self.progress, self.stop) = (engine, progress, stop)
  }

  /// Tokens of the held-out conversations.
  package var tokens: Int { inputs.heldOut.reduce(0) { $0 + inputs.states.lengths[$1] } }

  /// A measured batch of held-out conversations, the same on all ranks.
  private struct Batch: Codable {
    var batch: Int
    /// Sums over all ranks by group of conversations, by position.
    var groups: [Int: [PositionSums]]
    /// Conversations with non-finite values, which are excluded.
    var leftOut: [Int]
  }

  /// Measures the head that the engine trains; nil without held-out conversations that have finite values. Collective.
  ///
  /// - Parameter journal: stores measured batches, and provides those of earlier starts
  /// - Throws: `StoppedRun` when a stop was requested, after the current micro-batch
  package func run(journal: EvaluationJournal? = nil) throws -> ObjectiveMetrics? {
    guard !inputs.heldOut.isEmpty else { return nil }
    var done = try earlier(journal)
    let groups = groups
    let batches = BatchPlan.cut(inputs.heldOut, inputs.states.lengths, inputs.config.tokensPerBatch)
    for (index, batch) in batches.enumerated() where done[index] == nil {
      let own = try measure(index, batch, groups)
      try stop.throwIfAnyRankStops(cluster, during: "evaluate, on held-out conversations")
      let all = try added(own)
      done[index] = all
      if cluster.isRoot { try journal?.append(all, "held-out", rank: 0) }
    }
    return metrics(batches.indices.compactMap { done[$0] })
  }

  /// The mean over all batches. Reports the names of conversations that are left out.
  private func metrics(_ batches: [Batch]) -> ObjectiveMetrics? {
    let groups = batches.reduce(into: [Int: [PositionSums]]()) { Self.add($1.groups, to: &$0) }
      .sorted { $0.key < $1.key }.map(\.value)
    let sums = groups.reduce(noSums) { sums, group in zip(sums, group).map { $0 + $1 } }
    let leftOut = batches.flatMap(\.leftOut).sorted()
    if !leftOut.isEmpty {
      progress.say(
        "held out, but left out: \(Format.count(leftOut.count, "conversation")) with non-finite values: "
          + leftOut.prefix(5).map(inputs.name).joined(separator: ", ") + (leftOut.count > 5 ? ", …" : ""))
    }
    guard sums.contains(where: { $0.rows > 0 }) else { return nil }
    var metrics = engine.objective.metrics(sums, leftOut: leftOut.count)
    func counts(_ value: (PositionSums) -> Double) -> [[Int]] {
      sums.indices.map { k in groups.map { Int(value($0[k])) } }
    }
    metrics.groups = HeldOutGroups(digest: digest, rows: counts(\.rows), hits: counts(\.hits))
    return metrics
  }

  private static func add(_ own: [Int: [PositionSums]], to all: inout [Int: [PositionSums]]) {
    all.merge(own) { zip($0, $1).map { $0 + $1 } }
  }

  /// A digest of the numbers and lengths of the conversations, and of the target.
  private var digest: String {
    let conversations = inputs.heldOut.map { "\($0) \(inputs.states.lengths[$0])" }
    let text = ([inputs.target.fingerprint] + conversations).joined(separator: "\n")
    return String(FileDigest.sha256(Data(text.utf8)).prefix(16))
  }

  /// The group of each held-out conversation.
  private var groups: [Int: Int] {
    let (count, heldOut) = (min(HeldOutGroups.most, inputs.heldOut.count), inputs.heldOut)
    return Dictionary(
      heldOut.enumerated().map { ($0.element, $0.offset * count / heldOut.count) }, uniquingKeysWith: { $1 })
  }

  private var noSums: [PositionSums] { engine.objective.noSums }

  /// The batches of earlier starts, which rank 0 reads. Collective.
  private func earlier(_ journal: EvaluationJournal?) throws -> [Int: Batch] {
    guard let journal else { return [:] }
    let all = try cluster.fromRoot { journal.read("held-out", Batch.self) }
    return Dictionary(all.map { ($0.batch, $0) }, uniquingKeysWith: { $1 })
  }

  /// This rank's part of a batch. Collective.
  ///
  /// - Parameter groups: the group of each conversation
  private func measure(_ index: Int, _ batch: [Int], _ groups: [Int: Int]) throws -> Batch {
    var result = Batch(batch: index, groups: [:], leftOut: [])
    let ones = [Double](repeating: 1, count: engine.objective.positions)
    for parts in try engine.prepare(batch, leavingOut: [], epoch: nil, isCut: false).microBatches where !stop.isMade {
      for (part, own) in zip(parts, try engine.loadEach(parts)) {
        let sums = own.run(globalRows: ones, recording: false)
        if sums.allSatisfy(\.isFinite) {
          Self.add([groups[part.conversation]!: sums], to: &result.groups)
        } else {
          result.leftOut.append(part.conversation)
        }
        cluster.tick()
      }
    }
    return result
  }

  /// The sums and left-out conversations of all ranks. Collective.
  private func added(_ own: Batch) throws -> Batch {
    var all = Batch(batch: own.batch, groups: [:], leftOut: [])
    for part in try cluster.allGather(value: own) {
      Self.add(part.groups, to: &all.groups)
      all.leftOut += part.leftOut
    }
    return all
  }
}
