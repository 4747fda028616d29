import EagleCore
import EagleData
import EagleModels
import EagleReport
import EagleRunFiles
import EagleStorage
import EagleTraining
import Foundation

extension RecipeRun {
  /// Trains, evaluates before the first epoch and after each one, and exports the best head.
  ///
  /// - Parameter resume: go on from the newest checkpoint; without it a run that has checkpoints is an error
  public func train(resume: Bool) throws {
    let evaluator = try checkBeforeTraining(resume: resume)
    let data = try prepare()
    let leftOut = try data.conversations(named: recipe.train.leaveOut)
    try cluster.agree(on: "\(leftOut.sorted())", about: "the conversations of train.leave_out")
    let states = try states(data)
    let checkpoint = try newestCheckpoint(data)
    let isNew = try !cluster.anyTrue(checkpoint != nil)
    let trainer = try Trainer(
      job(data, states, leftOut), start: start(data, states, leftOut, isNew: isNew), cluster: cluster,
      progress: progress, stop: stop)
    try trainer.resume(from: checkpoint)
    if cluster.isRoot {
      // A run that was killed while it wrote its last checkpoint leaves this one none to write.
      try CheckpointFolder.mend(recipe.output, newest: checkpoint?.name)
      try AtomicFile.write(path: folder.recipe, data: Data(try recipe.canonicalText.utf8))
    }
    if isNew { try trainer.begin() }
    var records = try isNew ? [] : earlierRecords(upTo: trainer.step)
    try measureBestAgain(evaluator, &records)
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
    case .store: return .store(try capture(data))
    case .online:
      try checkDisk(data)
      let states = try LiveStates(target: model.target, config: recipe.capture, data: data)
      try states.agreeOnPrecision(cluster)
      return .live(states)
    }
  }

  /// What this start goes on from, on rank 0. A run that has trained no step yet begins anew under other settings.
  private func newestCheckpoint(_ data: PreparedData) throws -> Checkpoint? {
    guard cluster.isRoot,
      let found = try CheckpointFolder.newestValid(in: recipe.output, report: { progress.say($0) })
    else { return nil }
    let info = try TrainingCheckpoint.info(found)
    if info.step == 0, info.identity != (try identity(data: data.fingerprint)) {
      progress.say("settings or data have changed before the first step: the run begins anew")
      return nil
    }
    return found
  }

  private func job(_ data: PreparedData, _ states: StateSource, _ leftOut: Set<Int>) throws -> Trainer.Job {
    Trainer.Job(
      config: recipe.train, gradients: recipe.cluster.gradients, states: states,
      mask: recipe.capture.store == .node ? { try data.tokens.conversation($0).mask } : nil, trained: data.trained,
      heldOut: data.heldOut, target: model.target, output: recipe.output,
      identity: try identity(data: data.fingerprint),
      leftOut: leftOut, name: data.name)
  }

  /// Evaluations that still hold. One rank reads, all get the same.
  private func earlierRecords(upTo step: Int) throws -> [EvaluationRecord] {
    let mine = cluster.isRoot ? try JSONEncoder().encode(try EvaluationFile.read(folder.evaluation)) : Data()
    let shared = try cluster.broadcast(data: mine)
    return try EvaluationFile.decode(shared, path: folder.evaluation).filter { $0.step <= step }
  }

  /// Writes the best checkpoint's head again when the folder has gone.
  private func exportIfMissing() throws {
    if cluster.isRoot, !FileManager.default.fileExists(atPath: "\(folder.export)/config.json"),
      let draft = try headOfBest()
    {
      try writeHead(draft)
    }
    try cluster.barrier()
  }

  /// The head that training starts with: made on rank 0, the same on all. Collective.
  ///
  /// - Parameter isNew: whether its weights matter; a run that goes on gets them from a checkpoint
  private func start(
    _ data: PreparedData, _ states: StateSource, _ leftOut: Set<Int>, isNew: Bool
  ) throws -> DraftModel {
    var draft = cluster.isRoot ? try startWithoutData(data) : nil
    if recipe.draft.initFrom == nil, recipe.draft.start == .fitted, isNew {
      draft = try DraftModel.fitted(
        draft, target: model.target, states: states, conversations: data.trained.filter { !leftOut.contains($0) },
        seed: recipe.train.seed, cluster: cluster, stop: stop
      ) { [progress] in progress.say("draft.start fitted: left out, with non-finite values: \(data.name(of: $0))") }
    }
    return try .shared(draft, target: model.target.shape, cluster: cluster)
  }

  /// The head of `draft.init_from`, or a random one.
  private func startWithoutData(_ data: PreparedData) throws -> DraftModel {
    guard let path = recipe.draft.initFrom else {
      let shape = DraftShape(of: model.target.shape, recipe.draft, captureLayers: layers)
      return .random(shape: shape, vocabulary: data.vocabulary, seed: recipe.train.seed)
    }
    let draft = try head(at: path, trainable: true)
    progress.say(
      "fine-tuning \(path): its own sizes hold, draft vocabulary \(draft.vocabulary.size), "
        + "rope_theta \(draft.shape.ropeTheta)")
    return draft
  }

  /// A page that cannot be written must not end the run that it tells of.
  func writeReport() {
    do {
      try RunReport(folder: recipe.output).write(to: folder.report)
    } catch {
      progress.say("warning: the report was not written: \(error); the run goes on")
    }
  }
}
