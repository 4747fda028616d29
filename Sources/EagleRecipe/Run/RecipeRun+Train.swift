import EagleCluster
import EagleModels
import EagleReport
import EagleStorage
import EagleTensor
import EagleTraining
import Foundation

extension RecipeRun {
  /// Trains, evaluates before the first epoch and after each one, and exports the best head.
  ///
  /// - Parameter resume: go on from the newest checkpoint; without it a run that has checkpoints is an error
  public func train(resume: Bool) throws {
    let data = try prepare()
    let states = try states(data)
    let evaluator = try makeEvaluator()
    let trainer = try Trainer(
      job(data, states), start: startingDraft(data, states), cluster: cluster, progress: progress, stop: stop)
    if !resume { try refuseExisting() }
    if cluster.isRoot {
      // Of a run that was killed while it removed its last old checkpoint; this one may have none to write.
      CheckpointFolder.removeLeftovers(in: recipe.output)
      try AtomicFile.write(path: folder.recipe, data: Data(try recipe.canonicalText.utf8))
    }
    try trainer.resume()
    var records = try earlierRecords(upTo: trainer.step)
    trainer.lastAccLength = accLength(records)
    // Of a run that was killed while it wrote the page of its last evaluation.
    if cluster.isRoot, !records.isEmpty { writeReport() }
    try evaluate(trainer, evaluator, &records, epoch: 0, when: trainer.step == 0)
    for epoch in 0..<recipe.train.epochs {
      let last = trainer.plan.lastStep(ofEpoch: epoch)
      if trainer.step < last { try trainer.train(epoch: epoch) }
      try evaluate(trainer, evaluator, &records, epoch: epoch + 1, when: trainer.step == last)
    }
    try exportIfMissing()
    progress.finish("train", summary(records))
  }

  private func states(_ data: PreparedData) throws -> StateSource {
    switch recipe.capture.mode {
    case .store: .store(try capture(data))
    case .online:
      .live(
        try LiveStates(
          target: model.target, config: recipe.capture, data: data))
    }
  }

  private func job(_ data: PreparedData, _ states: StateSource) throws -> Trainer.Job {
    Trainer.Job(
      config: recipe.train, gradients: recipe.cluster.gradients, states: states,
      mask: recipe.capture.store == .node ? { try data.tokens.conversation($0).mask } : nil, trained: data.trained,
      heldOut: data.heldOut, target: model.target, output: recipe.output, fingerprint: try fingerprint(data),
      name: data.name)
  }

  /// Evaluations that still hold; a run that starts again has none. One rank reads, all get the same.
  private func earlierRecords(upTo step: Int) throws -> [EvaluationRecord] {
    guard step > 0 else { return [] }
    let mine = cluster.isRoot ? try JSONEncoder().encode(try EvaluationFile.read(folder.evaluation)) : Data()
    let shared = try cluster.broadcast(data: mine)
    return try EvaluationFile.decode(shared, path: folder.evaluation).filter { $0.step <= step }
  }

  /// Writes the best checkpoint's head again when the folder has gone.
  private func exportIfMissing() throws {
    if cluster.isRoot, !FileManager.default.fileExists(atPath: "\(folder.export)/config.json"),
      let best = try CheckpointFolder.target(of: "best", in: recipe.output)
    {
      let checkpoint = try CheckpointFolder.open("\(recipe.output)/\(best)")
      let draft = try TrainingCheckpoint.draft(checkpoint, target: model.target.shape)
      try DraftFolder.write(draft, target: model.target.shape, to: folder.export)
    }
    try cluster.barrier()
  }

  private func startingDraft(_ data: PreparedData, _ states: StateSource) throws -> DraftModel {
    let layers = recipe.capture.layers(of: model.target.shape)
    if let path = recipe.draft.initFrom {
      let draft = try DraftFolder.read(path, target: model.target, trainable: true)
      guard draft.shape.captureLayers == layers else {
        throw TrainingError(
          path: path, problem: "this head reads layers \(draft.shape.captureLayers), and the recipe captures \(layers)",
          advice: "set capture.layers to those of the head")
      }
      progress.say(
        "fine-tuning \(path): its own sizes hold, draft vocabulary \(draft.vocabulary.size), rope_theta \(draft.shape.ropeTheta)"
      )
      return draft
    }
    let shape = DraftShape(of: model.target.shape, recipe.draft, captureLayers: layers)
    let random = DraftModel.random(shape: shape, vocabulary: data.vocabulary, seed: recipe.train.seed)
    // A run that goes on gets its weights from a checkpoint.
    let isNew = try cluster.anyTrue(try cluster.isRoot && CheckpointFolder.names(in: recipe.output).isEmpty)
    guard recipe.draft.start == .fitted, isNew else { return random }
    return try .fitted(random, target: model.target, states: states, conversations: data.trained, cluster: cluster)
  }

  /// Of everything that decides what a step of the optimiser does: not evaluations, not the number of epochs and ranks, and
  /// not where states and checkpoints are kept.
  private func fingerprint(_ data: PreparedData) throws -> String {
    var same = Recipe()
    same.train = recipe.train
    let defaults = TrainConfig()
    same.train.epochs = defaults.epochs
    same.train.checkpointEvery = defaults.checkpointEvery
    same.train.keepCheckpoints = defaults.keepCheckpoints
    same.train.shardOptimizer = defaults.shardOptimizer
    same.train.maxSkippedSteps = defaults.maxSkippedSteps
    same.train.tensorboard = defaults.tensorboard
    same.draft = recipe.draft
    same.capture = recipe.capture
    same.capture.store = CaptureConfig().store
    same.target.precision = recipe.target.precision
    let text = try same.canonicalText + data.fingerprint + model.target.fingerprint
    return FileDigest.sha256(Data(text.utf8))
  }

  private func refuseExisting() throws {
    let names = try CheckpointFolder.names(in: recipe.output)
    guard let newest = names.last else { return }
    throw TrainingError(
      path: recipe.output, problem: "the run has checkpoints up to \(newest)",
      advice: "add --resume to go on, or remove the step folders to start again")
  }

  /// Evaluates the head as it would be exported, unless the epoch is in the records already.
  private func evaluate(
    _ trainer: Trainer, _ evaluator: Evaluator, _ records: inout [EvaluationRecord], epoch: Int, when due: Bool
  ) throws {
    guard due, !records.contains(where: { $0.epoch == epoch }) else { return }
    let start = ContinuousClock.now
    let heldOut = try trainer.heldOutMetrics()
    let draft = trainer.optimizer.draft.rounded()
    var record = EvaluationRecord(
      epoch: epoch, step: trainer.step, benchmarks: try evaluator.run(draft), heldOut: heldOut)
    record.time = Date().timeIntervalSince1970
    record.seconds = start.duration(to: .now).inSeconds
    records.append(record)
    trainer.lastAccLength = accLength(records)
    progress.finish("evaluate", describe(record))
    for line in record.table() { progress.say(line) }
    let isBest = epoch > 0 && records.dropLast().allSatisfy { $0.epoch == 0 || $0.score < record.score }
    if isBest { try export(draft) }
    if cluster.isRoot {
      if isBest { try CheckpointFolder.point("best", to: CheckpointFolder.name(step: trainer.step), in: recipe.output) }
      try EvaluationFile.write(records, to: folder.evaluation)
      try ExamplesFile.write(evaluator.examples, epoch: epoch, step: trainer.step, to: folder.examples)
      writeReport()
    }
    trainer.logEvents(record)
    try cluster.barrier()
  }

  /// A page that cannot be written must not end the run that it tells of.
  private func writeReport() {
    do {
      try RunReport(folder: recipe.output).write(to: folder.report)
    } catch {
      progress.say("warning: the report was not written: \(error); the run goes on")
    }
  }

  /// Of the last evaluation; none without benchmarks.
  private func accLength(_ records: [EvaluationRecord]) -> Double? {
    recipe.evaluate.benchmarks.isEmpty ? nil : records.last?.meanAccLength
  }

  private func describe(_ record: EvaluationRecord) -> String {
    let when = record.epoch == 0 ? "before training" : "after epoch \(record.epoch)"
    guard let heldOut = record.heldOut else { return when }
    return when
      + String(
        format: ", held out: loss %.3f, accuracy %.3f, simulated acc_length %.2f", heldOut.loss, heldOut.accuracy[0],
        heldOut.simulatedAcceptanceLength)
  }

  private func summary(_ records: [EvaluationRecord]) -> String {
    let lengths = records.map { String(format: "%.2f", $0.meanAccLength) }.joined(separator: " -> ")
    let measured = recipe.evaluate.benchmarks.isEmpty ? "no benchmarks" : "acc_length by epoch: \(lengths)"
    return "\(measured); the best head is in \(folder.export)"
  }
}
