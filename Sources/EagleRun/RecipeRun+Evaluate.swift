import EagleChat
import EagleCore
import EagleDraft
import EagleModels
import EagleRunFiles
import EagleStorage
import EagleTraining
import Foundation

extension RecipeRun {
  /// Measures a head on the recipe's benchmarks, without the prompts that select the best head.
  ///
  /// - Parameter path: folder or .gguf file of the head; nil selects the run's export
  public func evaluate(draft path: String?) throws -> [String: BenchmarkResult] {
    let evaluator = try makeEvaluator()
    let own = cluster.isRoot ? try model.head(at: path ?? folder.export) : nil
    let draft = try DraftModel.shared(own, target: format.shape, cluster: cluster)
    let journal = try journal(draft, evaluator, data: "")
    let results = try evaluator.run(draft, journal: journal, choosesBest: false).benchmarks
    if cluster.isFirstOfNode { journal.remove() }
    guard !results.isEmpty else { return results }
    for line in BenchmarkTable.lines(results, mean: results.meanAccLengthInterval) { progress.say(line) }
    if recipe.evaluate.validation > 0 { progress.say("  without the prompts that choose the best head") }
    return results
  }

  /// The journal that stores the parts of a head's evaluation until it is finished. Its key covers everything that
  /// determines the results. Collective.
  func journal(_ draft: DraftModel, _ evaluator: Evaluator, data: String) throws -> EvaluationJournal {
    var key = Data()
    if cluster.isRoot {
      let conditions = try JSONStyle.compactEscaped.text(evaluator.conditions)
      let identity = try JSONStyle.compactEscaped.text(try identity(data: data))
      key = Data(FileDigest.sha256(Data("\(draft.digest) \(conditions) \(identity)".utf8)).utf8)
    }
    let shared = try cluster.broadcast(data: key)
    return EvaluationJournal(output: recipe.output, key: String(decoding: shared, as: UTF8.self))
  }

  /// Measures a head of the training, in the precision in which it is exported. Collective.
  func evaluate(
    _ draft: DraftModel, _ training: TrainingRun, _ evaluator: Evaluator, epoch: Int, journal: EvaluationJournal
  ) throws -> EvaluationRecord {
    let start = ContinuousClock.now
    let heldOut = try training.heldOutMetrics(journal: journal)
    var record = EvaluationRecord(
      epoch: epoch, step: training.step, results: try evaluator.run(draft, journal: journal), heldOut: heldOut,
      conditions: evaluator.conditions)
    record.time = Date().timeIntervalSince1970
    record.seconds = start.duration(to: .now).inSeconds
    return record
  }

  /// Shows the results of an evaluation.
  func show(_ record: EvaluationRecord) {
    progress.finish("evaluate", describe(record))
    for line in record.table() { progress.say(line) }
  }

  /// Writes the evaluations of the run, the last one's examples, and the report. On rank 0.
  func write(_ records: [EvaluationRecord], isBest: Bool, examples: [ExampleText]) throws {
    guard let record = records.last else { return }
    if isBest { try CheckpointFolder.point("best", to: CheckpointFolder.name(step: record.step), in: recipe.output) }
    try EvaluationFile.write(records, to: folder.evaluation)
    try ExamplesFile.write(examples, epoch: record.epoch, step: record.step, to: folder.examples)
    writeReport()
  }

  /// Measures the best head so far again, if it was measured with other settings than the recipe's, so that heads of
  /// later epochs are compared under equal conditions. Collective.
  func measureBestAgain(_ evaluator: Evaluator, _ records: inout [EvaluationRecord]) throws {
    let name = try cluster.broadcast(
      data: Data((cluster.isRoot ? try CheckpointFolder.target(of: "best", in: recipe.output) ?? "" : "").utf8))
    guard
      let index = records.lastIndex(where: {
        $0.epoch > 0 && CheckpointFolder.name(step: $0.step) == String(decoding: name, as: UTF8.self)
      }), records[index].conditions != evaluator.conditions
    else { return }
    let old = records[index]
    progress.say(
      "evaluate.* has changed since epoch \(old.epoch), whose head is the best so far: it is measured again")
    guard let draft = try bestDraft() else {
      return progress.say("later epochs are compared among themselves")
    }
    let journal = try journal(draft, evaluator, data: "")
    var record = EvaluationRecord(
      epoch: old.epoch, step: old.step, results: try evaluator.run(draft, journal: journal), heldOut: old.heldOut,
      conditions: evaluator.conditions)
    (record.time, record.seconds) = (Date().timeIntervalSince1970, old.seconds)
    var before = old
    before.earlier = nil
    record.earlier = (old.earlier ?? []) + [before]
    records[index] = record
    for line in record.table() { progress.say(line) }
    if cluster.isRoot { try EvaluationFile.write(records, to: folder.evaluation) }
    if cluster.isFirstOfNode { journal.remove() }
  }

  /// The head of the checkpoint that `best` names, as it would be exported, on all ranks; nil if it is missing or
  /// damaged. Collective.
  private func bestDraft() throws -> DraftModel? {
    var own: DraftModel?
    if cluster.isRoot {
      do {
        own = try headOfBest()?.rounded()
      } catch {
        progress.say("the best head cannot be measured again: \(error)")
      }
    }
    guard try cluster.anyTrue(own != nil) else { return nil }
    return try .shared(own, target: format.shape, cluster: cluster)
  }

  /// The head of the checkpoint that `best` names; nil if there is no such pointer. On rank 0.
  func headOfBest() throws -> DraftModel? {
    guard let best = try CheckpointFolder.target(of: "best", in: recipe.output) else { return nil }
    let checkpoint = try CheckpointFolder.open("\(recipe.output)/\(best)")
    return try TrainingCheckpoint.draft(checkpoint, target: format.shape)
  }

  private func describe(_ record: EvaluationRecord) -> String {
    let when = record.epoch == 0 ? "before training" : "after epoch \(record.epoch)"
    guard let heldOut = record.heldOut else { return when }
    return when
      + String(
        format: ", held out: loss %.3f, accuracy %.3f, simulated acc_length %.2f", heldOut.loss, heldOut.accuracy[0],
        heldOut.simulatedAcceptanceLength)
  }

  /// One line on the epochs that were measured under the same conditions as the last one.
  func summary(_ records: [EvaluationRecord]) -> String {
    let alike = records.filter { $0.conditions == records.last?.conditions }
    let lengths = alike.map { String(format: "%.2f", $0.meanAccLength) }.joined(separator: " -> ")
    let measured = recipe.evaluate.benchmarks.isEmpty ? "no benchmarks" : "acc_length by epoch: \(lengths)"
    return "\(measured); the best head is in \(folder.export)"
  }
}
