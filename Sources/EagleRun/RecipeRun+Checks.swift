import EagleCaptureStore
import EagleChat
import EagleCore
import EagleData
import EagleDraft
import EagleModels
import EaglePlan
import EagleRunFiles
import EagleStorage
import EagleTraining
import Foundation

// Checks before a long run. A rejected start changes no file.
extension RecipeRun {
  /// Checks everything that training needs and that can be checked now. Collective.
  ///
  /// - Returns: the evaluator, with its prompts read
  func checkBeforeTraining(resume: Bool) throws -> Evaluator {
    _ = try model  // Collective, and therefore before rank 0 uses it alone.
    if !resume { try refuseExisting() }
    try checkSizes()
    try format.shape.validate(captureLayers: layers, path: "capture.layers")
    try requireExportable()
    if cluster.isRoot {
      try DraftFolder.requireReplaceable(folder.export)
      _ = try recipe.draft.initFrom.map { try head(at: $0) }
      if let (path, info) = try TrainingCheckpoint.newestInfo(in: recipe.output), info.step > 0 {
        try identity(data: "").check(settingsOf: try info.identity(of: path), path)
      }
    }
    if recipe.capture.mode == .store { try checkStore() }
    return try makeEvaluator()
  }

  /// Throws if the recipe's head cannot be exported to a head folder, before anything is computed.
  private func requireExportable() throws {
    guard recipe.draft.initFrom == nil else { return }
    let shape = recipe.draft.shape(of: format.shape, captureLayers: layers)
    _ = try shape.folder(nil, target: format.shape, verifier: nil, path: folder.export)
  }

  /// Checks an existing store against the settings of this run. Collective.
  private func checkStore() throws {
    let capture = try StateCapture(target: model.target, config: captureConfig)
    try capture.agreeOnPrecision(cluster)
    guard FileManager.default.fileExists(atPath: CaptureManifest.path(in: folder.capture)) else { return }
    try CaptureManifest(folder: folder.capture).attributes.check(against: capture.attributes, path: folder.capture)
  }

  /// The captured layers.
  var layers: [Int] { recipe.capture.layers(of: format.shape, draft: recipe.draft) }

  /// The settings of capture with the layers listed.
  var captureConfig: CaptureConfig { recipe.capture.resolved(for: format.shape, draft: recipe.draft) }

  /// The identity that checkpoints of this run record.
  func identity(data fingerprint: String) throws -> RunIdentity {
    try RunIdentity(
      train: recipe.train, draft: named.draft, capture: recipe.capture, precision: recipe.target.precision,
      layers: layers, data: fingerprint, target: model.target.fingerprint)
  }

  /// The head to start from, which must read the layers that are captured.
  func head(at path: String) throws -> DraftModel {
    let draft = try model.head(at: path)
    try draft.shape.check(recipe.train.objective)
    try draft.shape.check(draftLength: recipe.evaluate.draftLength)
    guard draft.shape.architecture == recipe.draft.architecture.rawValue else {
      throw LocatedError(
        path: path,
        problem: "is a head of the architecture \(draft.shape.architecture), and draft.architecture is "
          + recipe.draft.architecture.rawValue,
        advice: "set draft.architecture to \(draft.shape.architecture)")
    }
    guard draft.shape.captureLayers == layers else {
      throw LocatedError(
        path: path, problem: "this head reads layers \(draft.shape.captureLayers), and the recipe captures \(layers)",
        advice: "set capture.layers to those of the head")
    }
    return draft
  }

  /// Checks the sizes of the recipe against those of the target.
  func checkSizes() throws {
    let shape = format.shape
    guard recipe.data.maxLength <= shape.maxPositions else {
      throw LocatedError(
        path: "data.max_length",
        problem: "\(recipe.data.maxLength) tokens are more than the \(shape.maxPositions) positions of the target",
        advice: "set it to \(shape.maxPositions) or less")
    }
    // On all ranks, because `sizes` is computed from these settings.
    if recipe.draft.initFrom == nil { try recipe.draft.requireFit(shape) }
    if cluster.isRoot { try Preparation.checkVocabulary(recipe.draft, target: model.target) }
    try sizes.draft.check(recipe.train.objective)
    if recipe.draft.initFrom == nil { try sizes.draft.check(draftLength: recipe.evaluate.draftLength) }
    try checkMemory()
  }

  /// Checks the minimum memory: every rank holds all weights and gradients in float32, even with ZeRO-1.
  private func checkMemory() throws {
    let (need, total) = (8 * Double(sizes.parameters), Double(SystemMemory.total))
    guard total > 0, need > total else { return }
    throw LocatedError(
      path: "draft",
      problem: String(
        format: "the head's weights and gradients take %.1f GB, and this machine has %.1f GB of memory", need / 1e9,
        total / 1e9), advice: "lower draft.intermediate_size or draft.vocabulary_size")
  }

  /// Throws if the run has checkpoints of data with another fingerprint. On rank 0.
  func refuseOtherData(_ fingerprint: String) throws {
    guard let (path, info) = try TrainingCheckpoint.newestInfo(in: recipe.output), info.step > 0 else { return }
    try identity(data: fingerprint).check(dataOf: try info.identity(of: path), path)
  }

  /// Throws if a disk of this rank has too little space for the files that are still to be written.
  func checkDisk(_ data: PreparedData) throws {
    var needs: [(path: String, bytes: Double)] = []
    if recipe.capture.mode == .store, recipe.capture.store == .node ? cluster.isFirstOfNode : cluster.isRoot {
      let nodes = recipe.capture.store == .node ? Set(cluster.nodes).count : 1
      let store = sizes.storedBytes(recipe.capture.states) * Double(data.tokens.tokenCount) / Double(nodes)
      needs.append((folder.capture, max(0, store - Disk.bytes(under: folder.capture))))
    }
    if cluster.isRoot, try !isTrained {
      let there = try CheckpointFolder.names(in: recipe.output).count
      needs.append((recipe.output, Double(max(1, recipe.train.keepCheckpoints + 2 - there)) * sizes.checkpoint))
    }
    // Needs on the same disk are added.
    for need in needs {
      let together = needs.filter { Disk.isOneDisk($0.path, need.path) }.reduce(0) { $0 + $1.bytes }
      guard let free = Disk.freeBytes(at: need.path), together > free else { continue }
      throw LocatedError(
        path: need.path,
        problem: String(
          format: "the run has yet to write %.1f MB, and the disk has %.1f MB free", together / 1e6, free / 1e6),
        advice: "free some space, choose another output, or set capture.states to int8 or capture.mode to online; "
          + "`eagle-train plan` says what takes how much")
    }
  }

  /// Whether the last epoch has been evaluated.
  private var isTrained: Bool {
    get throws { try EvaluationFile.read(folder.evaluation).contains { $0.epoch >= recipe.train.epochs } }
  }

  private var sizes: Sizes {
    Sizes(
      target: format.shape, draft: recipe.draft.shape(of: format.shape, captureLayers: layers),
      targetBytes: 0)
  }

  private func refuseExisting() throws {
    let newest = cluster.isRoot ? try CheckpointFolder.names(in: recipe.output).last : nil
    guard let newest, newest != CheckpointFolder.name(step: 0) else { return }
    throw LocatedError(
      path: recipe.output, problem: "the run has checkpoints up to \(newest)",
      advice: "add --resume to go on, or remove the step folders to start again")
  }
}
