import EagleCluster
import EagleModels
import EagleStorage
import EagleTraining
import Foundation

// What is looked at before hours are spent. A refused start changes no file.
extension RecipeRun {
  /// Looks at everything that training will need and that can be looked at now. Collective.
  ///
  /// - Returns: the evaluator, with its prompts read
  func checkBeforeTraining(resume: Bool) throws -> Evaluator {
    if !resume { try refuseExisting() }
    try checkSizes()
    try model.target.shape.validate(captureLayers: layers, path: "capture.layers")
    if cluster.isRoot {
      _ = try recipe.draft.initFrom.map { try head(at: $0, trainable: false) }
      if let (path, info) = try TrainingCheckpoint.newestInfo(in: recipe.output) {
        try identity(data: "").check(settingsOf: try info.identity(of: path), path)
      }
    }
    return try makeEvaluator()
  }

  /// The captured layers.
  var layers: [Int] { recipe.capture.layers(of: model.target.shape) }

  /// What a checkpoint of this run says.
  func identity(data fingerprint: String) throws -> RunIdentity {
    try RunIdentity(recipe, layers: layers, data: fingerprint, target: model.target.fingerprint)
  }

  /// The head to start from, which must read the layers that are captured.
  func head(at path: String, trainable: Bool) throws -> DraftModel {
    let draft = try DraftFolder.read(path, target: model.target, trainable: trainable)
    guard draft.shape.captureLayers == layers else {
      throw TrainingError(
        path: path, problem: "this head reads layers \(draft.shape.captureLayers), and the recipe captures \(layers)",
        advice: "set capture.layers to those of the head")
    }
    return draft
  }

  /// Sizes of the recipe against those of the target.
  func checkSizes() throws {
    let shape = model.target.shape
    guard recipe.data.maxLength <= shape.maxPositions else {
      throw TrainingError(
        path: "data.max_length",
        problem: "\(recipe.data.maxLength) tokens are more than the \(shape.maxPositions) positions of the target",
        advice: "set it to \(shape.maxPositions) or less")
    }
    if cluster.isRoot { try Preparation.checkVocabulary(recipe.draft, target: model.target) }
  }

  /// Throws when the run has checkpoints of other data than `fingerprint` says. On rank 0.
  func refuseOtherData(_ fingerprint: String) throws {
    guard let (path, info) = try TrainingCheckpoint.newestInfo(in: recipe.output) else { return }
    guard try info.identity(of: path).dataFingerprint != fingerprint else { return }
    throw TrainingError(
      path: path, problem: "the checkpoint belongs to a run with other data",
      advice:
        "restore the data and its settings, or choose another output folder; train.leave_out takes conversations out")
  }

  /// Throws when the disk of this rank has no room for what is still to be written.
  func checkDisk(_ data: PreparedData) throws {
    guard recipe.capture.store == .node ? cluster.isFirstOfNode : cluster.isRoot else { return }
    let sizes = Sizes(
      target: model.target.shape, draft: DraftShape(of: model.target.shape, recipe.draft, captureLayers: layers),
      targetBytes: 0)
    let nodes = recipe.capture.store == .node ? Set(cluster.nodes).count : 1
    let needs = sizes.disk(
      tokens: Double(data.tokens.tokenCount) / Double(nodes), conversations: 0, capture: recipe.capture,
      keep: recipe.train.keepCheckpoints)
    let wanted = needs.reduce(0) { $0 + $1.bytes } - Machine.bytes(under: recipe.output)
    guard let free = Machine.freeBytes(at: recipe.output), wanted > free else { return }
    throw TrainingError(
      path: recipe.output,
      problem: String(
        format: "the run has yet to write %.1f MB, and the disk has %.1f MB free", wanted / 1e6, free / 1e6),
      advice: "free some space, choose another output, or set capture.states to int8 or capture.mode to online; "
        + "`eagle-train plan` says what takes how much")
  }

  private func refuseExisting() throws {
    let newest = cluster.isRoot ? try CheckpointFolder.names(in: recipe.output).last : nil
    guard let newest else { return }
    throw TrainingError(
      path: recipe.output, problem: "the run has checkpoints up to \(newest)",
      advice: "add --resume to go on, or remove the step folders to start again")
  }
}
