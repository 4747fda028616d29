import EagleCore
import EagleData
import EagleDraft
import EagleModels
import EagleReport
import EagleRunFiles
import EagleStorage
import EagleTraining
import Foundation

extension RecipeRun {
  /// Trains, evaluates before the first epoch and after each one, and exports the best head.
  ///
  /// - Parameter resume: resumes from the newest checkpoint; without it, existing checkpoints are an error
  public func train(resume: Bool) throws {
    // All checks run now, before the long work starts.
    let evaluator = try checkBeforeTraining(resume: resume)
    let data = try prepare()
    let inputs = try trainingInputs(data)

    // Resume from the newest checkpoint, or begin with a random, fitted or given head.
    let checkpoint = try newestCheckpoint(data)
    let isNew = try !cluster.anyTrue(checkpoint != nil)
    let training = try TrainingRun(
      inputs, start: start(data, inputs, isNew: isNew), output: recipe.output, cluster: cluster, progress: progress,
      stop: stop)
    try training.resume(from: checkpoint)
    if cluster.isRoot {
      // Completes the last checkpoint of a run that was killed during its write, if this start writes none.
      try CheckpointFolder.mend(recipe.output, newest: checkpoint?.name)
      try AtomicFile.write(path: folder.recipe, data: Data(try named.canonicalText.utf8))
    }
    if isNew { try training.begin() }

    // Evaluations of an earlier start, for comparison with later heads.
    var records = try isNew ? [] : earlierRecords(upTo: training.step)
    try measureBestAgain(evaluator, &records)
    if let last = records.last { training.progressLine.didEvaluate(last) }
    // The report may be missing or old if a run was killed while it wrote the report.
    if cluster.isRoot, !records.isEmpty { writeReport() }

    // Epoch 0 is the head before training: it is evaluated, and nothing is trained.
    for epoch in 0...recipe.train.epochs {
      let lastStep = training.plan.lastStep(ofEpoch: epoch - 1)
      if training.step < lastStep { try training.train(epoch: epoch - 1) }
      guard training.step == lastStep, !records.contains(where: { $0.epoch == epoch }) else { continue }

      // Evaluate the head as it would be exported.
      let draft = training.optimizer.draft.rounded()
      let journal = try journal(draft, evaluator, data: inputs.identity.dataFingerprint)
      let record = try evaluate(draft, training, evaluator, epoch: epoch, journal: journal)
      let isBest = record.isBest(after: records)
      records.append(record)
      show(record)

      // Export the best head so far, and write what a reader or a later start needs.
      if isBest { try export(draft) }
      if cluster.isRoot { try write(records, isBest: isBest, examples: evaluator.examples) }
      training.didEvaluate(record)
      warnOfSmallGain(record, draft)
      try cluster.barrier()
      if cluster.isFirstOfNode { journal.remove(others: true) }
    }
    try exportIfMissing()
    progress.finish("train", summary(records))
  }

  private func trainingInputs(_ data: PreparedData) throws -> TrainingInputs {
    let leftOut = try data.conversations(named: recipe.train.leaveOut)
    try cluster.agree(on: "\(leftOut.sorted())", about: "the conversations of train.leave_out")
    var inputs = TrainingInputs(
      config: recipe.train, states: try states(data), target: try model.target, trained: data.trained,
      heldOut: data.heldOut)
    inputs.gradients = recipe.cluster.gradients
    inputs.mask = { try data.tokens.mask($0) }
    (inputs.leftOut, inputs.name) = (leftOut, data.name)
    inputs.identity = try identity(data: data.fingerprint)
    return inputs
  }

  private func states(_ data: PreparedData) throws -> StateSource {
    switch recipe.capture.mode {
    case .store: return .store(try capture(data))
    case .online:
      try checkDisk(data)
      let states = try OnlineStates(target: model.target, config: captureConfig, data: data, tick: cluster.tick)
      try states.agreeOnPrecision(cluster)
      return .online(states)
    }
  }

  /// The checkpoint from which this start resumes, on rank 0. A run without a trained step starts anew if its settings
  /// have changed.
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

  /// The evaluations that are still valid. One rank reads them for all.
  private func earlierRecords(upTo step: Int) throws -> [EvaluationRecord] {
    try cluster.fromRoot { try EvaluationFile.read(folder.evaluation) }.filter { $0.step <= step }
  }

  /// Exports the best checkpoint's head again if the export folder is missing.
  private func exportIfMissing() throws {
    if cluster.isRoot, !FileManager.default.fileExists(atPath: "\(folder.export)/config.json"),
      let draft = try headOfBest()
    {
      try writeHead(draft)
    }
    try cluster.barrier()
  }

  /// The head with which training starts: created on rank 0, and the same on all ranks. Collective.
  ///
  /// - Parameter isNew: whether its weights are used; a resumed run reads them from a checkpoint
  private func start(_ data: PreparedData, _ inputs: TrainingInputs, isNew: Bool) throws -> DraftModel {
    var draft = cluster.isRoot ? try startWithoutData(data) : nil
    if recipe.draft.initFrom == nil, recipe.draft.start == .fitted, isNew {
      draft = try DraftModel.fitted(
        draft, target: model.target, states: inputs.states,
        conversations: data.trained.filter { !inputs.leftOut.contains($0) },
        seed: recipe.train.seed, cluster: cluster, stop: stop
      ) { [progress] in progress.say("draft.start fitted: left out, with non-finite values: \(data.name(of: $0))") }
    }
    return try .shared(draft, target: format.shape, cluster: cluster)
  }

  /// The head of `draft.init_from`, or a random one.
  private func startWithoutData(_ data: PreparedData) throws -> DraftModel {
    guard let path = recipe.draft.initFrom else {
      if recipe.draft.architecture != .eagle3, recipe.draft.maskTokenID == nil, data.maskToken == nil {
        throw LocatedError(
          path: "draft.mask_token_id", problem: "the prepared data names no token that is never trained",
          advice: "set the id of a token that occurs in no text, or remove the run's prepared folder")
      }
      let shape = recipe.draft.shape(of: format.shape, captureLayers: layers, maskToken: data.maskToken)
      return try .random(shape: shape, vocabulary: data.vocabulary, seed: recipe.train.seed)
        .withEmbedding(of: model.target)
    }
    let draft = try head(at: path)
    progress.say(
      "fine-tuning \(path): its own sizes hold, draft vocabulary \(draft.vocabulary.size)"
        + (draft.shape.details.map { ", \($0)" }.joined()))
    if let format = draft.quantizedFormat {
      progress.say("\(path) is quantised to \(format): training starts from its rounded weights, in float32")
    }
    return draft.trainable()
  }

  /// Writes the report. A failed write must not end the run.
  func writeReport() {
    do {
      try RunReport(folder: recipe.output).write(to: folder.report)
    } catch {
      progress.say("warning: the report was not written: \(error); the run goes on")
    }
  }
}
