import EagleCluster
import EagleModels
import EagleStorage
import EagleTensor
import EagleTraining
import Foundation

/// The stages of a recipe, in order. Each is skipped when its output is up to date, and says what it did.
public final class RecipeRun {
  public let recipe: Recipe
  public let folder: RunFolder
  public let cluster: any Communicator
  let model: ChatModel
  let progress: ProgressSink

  /// Loads the target on every rank.
  ///
  /// - Throws: when ranks disagree about the recipe, or the target cannot be loaded
  public init(_ recipe: Recipe, cluster: any Communicator, progress: ProgressSink) throws {
    self.recipe = recipe
    self.cluster = cluster
    self.progress = progress
    folder = RunFolder(recipe.output)
    try cluster.agree(on: try recipe.canonicalText, about: "the recipe")
    model = try ChatModel(folder: recipe.target.path, template: recipe.data.chatTemplate)
    try cluster.agree(on: model.target.fingerprint, about: "the target model")
  }

  /// What computes, for people to read.
  public var description: String {
    let shape = model.target.shape
    let threads = "\(cluster.size) rank\(cluster.size == 1 ? "" : "s") x \(Parallel.threadCount) threads"
    return "\(recipe.run): \(shape.family.rawValue), \(shape.layers) layers of \(shape.hiddenSize); \(threads); "
      + Matmul.describe(recipe.train.precision == .bf16 ? .bf16 : .fp32)
  }

  /// Conversations to ids. Rank 0 works, the others wait for the result.
  @discardableResult
  public func prepare() throws -> PreparedData {
    if cluster.isRoot {
      let preparation = Preparation(
        data: recipe.data, draft: recipe.draft, seed: recipe.train.seed, model: model, progress: progress)
      _ = try preparation.run(folder: folder.prepared)
    }
    try cluster.barrier()
    return try PreparedData(folder: folder.prepared)
  }

  /// The capture store of the prepared data, made or completed on all ranks.
  @discardableResult
  public func capture(_ data: PreparedData) throws -> CaptureStore {
    try CapturePass(
      target: model.target, precision: recipe.target.precision, data: data, config: recipe.capture, cluster: cluster,
      progress: progress
    ).run(folder: folder.capture)
  }

  /// Writes a draft head where servers and `eagle-run` find it.
  func export(_ draft: DraftModel) throws {
    if cluster.isRoot { try DraftFolder.write(draft, target: model.target.shape, to: folder.export) }
    try cluster.barrier()
  }

  func makeEvaluator() throws -> Evaluator {
    try Evaluator(
      model: model, precision: recipe.target.precision, config: recipe.evaluate, cluster: cluster, progress: progress)
  }
}
