import EagleChat
import EagleCluster
import EagleCore
import EagleDraft
import EagleModels
import EagleRecipe
import EagleTraining
import Foundation

/// The plan of a run before it starts: files are counted, sizes computed, and short parts of the run measured.
package struct Planner {
  private let context: PlanContext
  private let cluster: any Communicator
  private let model: ChatModel
  private var recipe: Recipe { context.recipe }

  /// Loads the target. Collective.
  ///
  /// - Throws: when ranks have different recipes, and for an unusable target, layers or head to start from
  package init(_ recipe: Recipe, others: OtherClusters, cluster: any Communicator) throws {
    self.cluster = cluster
    try cluster.agree(on: try recipe.canonicalText, about: "the recipe")
    model = try ChatModel(
      folder: recipe.target.path, template: recipe.data.chatTemplate, options: recipe.data.chatTemplateOptions,
      precision: recipe.target.precision, context: recipe.target.context)
    let sizes = try Self.sizes(recipe, model.target)
    context = PlanContext(recipe, sizes, cluster: cluster, others: others)
  }

  /// - Throws: for layers, a vocabulary or a head to start from that do not fit the target
  private static func sizes(_ recipe: Recipe, _ model: TargetModel) throws -> Sizes {
    let target = model.shape
    let layers = recipe.capture.layers(of: target, draft: recipe.draft)
    try target.validate(captureLayers: layers, path: "capture.layers")
    try recipe.draft.requireFit(target)
    let draft =
      try recipe.draft.initFrom.map { try DraftFolder.read($0, target: model).shape }
      ?? recipe.draft.shape(of: target, captureLayers: layers)
    try draft.check(draftLength: recipe.evaluate.draftLength)
    return Sizes(
      target: target, draft: draft, targetBytes: Double(try ModelSource(path: model.path).weightBytes()),
      cacheFormat: CacheFormat(for: recipe.target.precision))
  }

  /// Counts, measures and predicts. Collective.
  ///
  /// - Parameter folder: an empty one for this rank's temporary files
  /// - Returns: the plan on rank 0; nil on other ranks
  package func run(folder: String) throws -> RunPlan? {
    let start = ContinuousClock.now
    let peak = GemmBenchmark.peak(recipe.target.precision) * 1e9
    let data =
      cluster.isRoot ? try PlanData(recipe, model, dataTokens: context.others.dataTokens) : PlanData()
    let work = try cluster.fromRoot { MeasuredWork(context, data, peak: peak) }
    let figures = try measure(work, folder: folder, peak: peak)
    guard cluster.isRoot else { return nil }
    let seconds = start.duration(to: .now).inSeconds
    var plan = Forecast(context: context, data: data, figures: figures, measuringSeconds: seconds).plan()
    plan.gain = figures.gain
    return plan
  }

  /// A head of the other kind, a block drafter for EAGLE-3 and the reverse, with the recipe's vocabulary and otherwise
  /// the default sizes of its architecture.
  private func otherHead() throws -> DraftModel {
    let target = model.target.shape
    var config = DraftConfig()
    config.architecture = recipe.draft.architecture == .eagle3 ? .dspark : .eagle3
    (config.vocabulary, config.ropeTheta) = (recipe.draft.vocabulary, recipe.draft.ropeTheta)
    try config.requireFit(target)
    let own = config.defaultCaptureLayers(of: target)
    let fits = (try? target.validate(captureLayers: own, path: "capture.layers")) != nil
    let shape = config.shape(of: target, captureLayers: fits ? own : context.sizes.draft.captureLayers)
    let vocabulary = DraftVocabulary.mostFrequent(
      counts: [Int](repeating: 1, count: target.vocabularySize), size: shape.draftVocabularySize, always: [])
    return DraftModel.random(shape: shape, vocabulary: vocabulary, seed: 0).rounded()
  }

  /// Measures each kind of work. Collective.
  private func measure(_ work: MeasuredWork, folder: String, peak: Double) throws -> PlanFigures {
    let measurement = PlanMeasurement(model: model, cluster: cluster, folder: folder)
    let capture = try measurement.capture(
      recipe.capture.resolved(for: model.target.shape, draft: recipe.draft), conversations: work.capture)
    let (training, head) = try measurement.training(
      recipe.train, gradients: recipe.cluster.gradients, draft: context.sizes.draft, conversations: work.training,
      tokensPerBatch: work.tokensPerBatch)
    let decoding =
      try work.prompts.isEmpty ? nil : measurement.decoding(head, recipe.evaluate, prompts: work.prompts)
    var generation: [Int: PlanMeasurement.Generation] = [:]
    if let tokens = work.generatedPromptTokens {
      for width in Set(recipe.generations.map(\.batch)).sorted() {
        generation[width] = try measurement.generation(width: width, promptTokens: tokens)
      }
    }
    // The gain of the other kind of head, for comparison.
    let other = try otherHead()
    let gain =
      cluster.isRoot
      ? try GainForecast(
        target: model.target, drafts: [head, other], draftLength: recipe.evaluate.draftLength) : nil
    try cluster.barrier()
    return PlanFigures(
      capture: capture, training: training, decoding: decoding, generation: generation, gain: gain, peak: peak)
  }
}
