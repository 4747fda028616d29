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
    let evaluator = try checkBeforeTraining(resume: resume)
    let data = try prepare()
    let states = try states(data)
    let checkpoint = cluster.isRoot ? try CheckpointFolder.newestValid(in: recipe.output) { progress.say($0) } : nil
    let isNew = try !cluster.anyTrue(checkpoint != nil)
    let trainer = try Trainer(
      job(data, states), start: start(data, states, isNew: isNew), cluster: cluster, progress: progress, stop: stop)
    try trainer.resume(from: checkpoint)
    if cluster.isRoot {
      // Of a run that was killed while it removed its last old checkpoint; this one may have none to write.
      CheckpointFolder.removeLeftovers(in: recipe.output)
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

  private func job(_ data: PreparedData, _ states: StateSource) throws -> Trainer.Job {
    Trainer.Job(
      config: recipe.train, gradients: recipe.cluster.gradients, states: states,
      mask: recipe.capture.store == .node ? { try data.tokens.conversation($0).mask } : nil, trained: data.trained,
      heldOut: data.heldOut, target: model.target, output: recipe.output,
      identity: try identity(data: data.fingerprint),
      leftOut: try data.conversations(named: recipe.train.leaveOut), name: data.name)
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
      let best = try CheckpointFolder.target(of: "best", in: recipe.output)
    {
      let checkpoint = try CheckpointFolder.open("\(recipe.output)/\(best)")
      let draft = try TrainingCheckpoint.draft(checkpoint, target: model.target.shape)
      try DraftFolder.write(draft, target: model.target.shape, to: folder.export)
    }
    try cluster.barrier()
  }

  /// The head that training starts with: made on rank 0, the same on all. Collective.
  ///
  /// - Parameter isNew: whether its weights matter; a run that goes on gets them from a checkpoint
  private func start(_ data: PreparedData, _ states: StateSource, isNew: Bool) throws -> DraftModel {
    var draft: DraftModel?
    if cluster.isRoot {
      do {
        draft = try startOfRoot(data, states, isNew: isNew)
      } catch is StoppedRun {}  // for all ranks to hear of, below
    }
    try stop.throwIfAnyRankStops(cluster, during: "train, before the first step")
    return try .shared(draft, target: model.target.shape, cluster: cluster)
  }

  private func startOfRoot(_ data: PreparedData, _ states: StateSource, isNew: Bool) throws -> DraftModel {
    if let path = recipe.draft.initFrom {
      let draft = try head(at: path, trainable: true)
      progress.say(
        "fine-tuning \(path): its own sizes hold, draft vocabulary \(draft.vocabulary.size), rope_theta \(draft.shape.ropeTheta)"
      )
      return draft
    }
    let shape = DraftShape(of: model.target.shape, recipe.draft, captureLayers: layers)
    let random = DraftModel.random(shape: shape, vocabulary: data.vocabulary, seed: recipe.train.seed)
    guard recipe.draft.start == .fitted, isNew else { return random }
    let leftOut = try data.conversations(named: recipe.train.leaveOut)
    return try .fitted(
      random, target: model.target, states: states, conversations: data.trained.filter { !leftOut.contains($0) },
      seed: recipe.train.seed, cluster: cluster, stop: stop
    ) { [progress] in progress.say("draft.start fitted: left out, without usable numbers: \(data.name(of: $0))") }
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
