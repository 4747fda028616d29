import EagleRecipe
import EagleTraining

/// The conversations and prompts of the measurement. Rank 0 chooses them so that each kind of work takes
/// `PlanMeasurement.seconds`.
struct MeasuredWork: Codable {
  var capture: [DataSample.Conversation] = []
  var training: [DataSample.Conversation] = []
  /// The tokens of a measured optimiser step.
  var tokensPerBatch = 0
  /// The prompts to decode; none without benchmarks.
  var prompts: [[Int32]] = []
  /// The tokens of a prompt of generation; nil if the run generates nothing.
  var generatedPromptTokens: Int?

  /// - Parameter peak: the operations per second of a rank's large GEMMs
  init(_ context: PlanContext, _ data: PlanData, peak: Double) {
    let (recipe, sizes, ranks) = (context.recipe, context.sizes, context.ranks)
    let sample = data.sample
    let lengths = sample.conversations.map(\.ids.count)
    let all = Double(lengths.reduce(0, +))
    let captureRate = 0.8 * peak / (NeededOperations.capture(sizes.target, lengths: lengths) / all)
    let captured = max(64, min(CapturePass.batchTokens, Int(PlanMeasurement.seconds * captureRate)))
    capture = sample.picked(tokens: ranks * captured, longest: max(128, captured))
    while capture.count < ranks { capture += capture }

    let operations = sizes.draft.costs(recipe.train.objective).operations(masks: sample.conversations.map(\.mask))
    let trainRate = 0.8 * peak / max(1, operations / all)
    let affordable = max(128, min(BatchPlan.microBatchTokens, Int(PlanMeasurement.seconds * trainRate)))
    tokensPerBatch = min(recipe.train.tokensPerBatch, ranks * affordable)
    let stepSeconds = Double(tokensPerBatch) / Double(ranks) / trainRate
    let steps = max(1, min(24, Int(PlanMeasurement.seconds / stepSeconds)))
    training = sample.picked(
      tokens: (steps + 2) * (tokensPerBatch + Int(all) / lengths.count / 2),
      longest: tokensPerBatch < recipe.train.tokensPerBatch ? affordable : recipe.data.maxLength)

    prompts = data.evaluation.picked(4 * ranks)
    generatedPromptTokens = data.generatedPromptTokens
  }
}
