import EagleChat
import EagleCluster
import EagleCore
import EagleData
import EagleModels
import EagleRecipe
import EagleStorage
import EagleText
import EagleTraining
import Foundation

/// Says what a run will take: counts, works out, and measures short pieces of it.
public struct Planner {
  /// Other clusters than the one at hand.
  public struct Elsewhere {
    /// Numbers of nodes like this one.
    public var nodes: [Int]
    /// Ranks on each; as many as here when nil.
    public var ranksPerNode: Int?
    public var link: StepModel.Link
    /// How much longer the slowest node computes than the mean.
    public var imbalance: Double
    /// Tokens of the data, when the files at hand are a part of it.
    public var dataTokens: Double?

    public init(nodes: [Int], ranksPerNode: Int?, link: StepModel.Link, imbalance: Double, dataTokens: Double?) {
      (self.nodes, self.ranksPerNode, self.link) = (nodes, ranksPerNode, link)
      (self.imbalance, self.dataTokens) = (imbalance, dataTokens)
    }
  }

  /// acc_length that evaluations of a head in training are supposed to have, and of one that knows nothing.
  static let supposedAccLength = 1.5

  let recipe: Recipe
  let elsewhere: Elsewhere
  let cluster: any Communicator
  let model: ChatModel
  let sizes: Sizes

  /// Loads the target. Collective.
  ///
  /// - Throws: when ranks disagree about the recipe, and for a target, layers or a head to start from that cannot be used
  public init(_ recipe: Recipe, elsewhere: Elsewhere, cluster: any Communicator) throws {
    (self.recipe, self.elsewhere, self.cluster) = (recipe, elsewhere, cluster)
    try cluster.agree(on: try recipe.canonicalText, about: "the recipe")
    let model = try ChatModel(
      folder: recipe.target.path, template: recipe.data.chatTemplate, precision: recipe.target.precision)
    self.model = model
    let target = model.target.shape
    let layers = recipe.capture.layers(of: target)
    try target.validate(captureLayers: layers, path: "capture.layers")
    guard recipe.draft.vocabularySize <= target.vocabularySize else {
      throw LocatedError(
        path: "draft.vocabulary_size",
        problem: "\(recipe.draft.vocabularySize) is more than the target's \(target.vocabularySize) tokens",
        advice: "choose a smaller one")
    }
    let draft =
      try recipe.draft.initFrom.map { try DraftFolder.read($0, target: model.target).shape }
      ?? DraftShape(of: target, recipe.draft, captureLayers: layers)
    let files = try SafetensorsFolder(path: recipe.target.path).files
    let bytes = try files.reduce(0.0) {
      $0 + Double(try FileManager.default.attributesOfItem(atPath: $1.path)[.size] as? Int ?? 0)
    }
    sizes = Sizes(target: target, draft: draft, targetBytes: bytes)
  }

  /// What rank 0 has found out, for the others to measure with.
  private struct Work: Codable {
    var capture: [DataSample.Conversation]
    var training: [DataSample.Conversation]
    var tokensPerBatch: Int
    var prompts: [[Int32]]
    var generatedPromptTokens: Int
  }

  /// Collective. The whole plan is rank 0's; the others get nil.
  ///
  /// - Parameter folder: an empty one for this rank's temporary files
  public func run(folder: String) throws -> RunPlan? {
    let start = ContinuousClock.now
    let peak = GemmBenchmark.peak(recipe.target.precision.products) * 1e9
    var (sample, evaluation, regeneration) = (DataSample(), EvaluationWork(), GenerationWork?.none)
    var work = Work(capture: [], training: [], tokensPerBatch: 0, prompts: [], generatedPromptTokens: 0)
    if cluster.isRoot {
      regeneration = try self.regeneration()
      sample = try dataSample(regeneration)
      evaluation = try EvaluationWork(recipe.evaluate, model)
      work = self.work(sample, evaluation, regeneration, peak)
    }
    let shared = try cluster.broadcast(data: cluster.isRoot ? try JSONEncoder().encode(work) : Data())
    work = try JSONDecoder().decode(Work.self, from: shared)
    let measurement = PlanMeasurement(model: model, cluster: cluster, folder: folder)
    let capture = try measurement.capture(recipe.capture, conversations: work.capture)
    let (training, head) = try measurement.training(
      recipe.train, gradients: recipe.cluster.gradients, draft: sizes.draft, conversations: work.training,
      tokensPerBatch: work.tokensPerBatch)
    let decoding =
      try work.prompts.isEmpty
      ? nil
      : measurement.decoding(head, recipe.evaluate, prompts: work.prompts)
    let generation =
      try work.generatedPromptTokens == 0
      ? nil
      : measurement.generation(
        width: recipe.regenerate.input.isEmpty ? recipe.synthesize.batch : recipe.regenerate.batch,
        promptTokens: work.generatedPromptTokens)
    guard cluster.isRoot else { return nil }
    var forecast = Forecast(
      planner: self, sample: sample, evaluation: evaluation, regeneration: regeneration, capture: capture,
      training: training, decoding: decoding,
      generation: generation, generatedPromptTokens: Double(work.generatedPromptTokens), peak: peak)
    forecast.measuringSeconds = start.duration(to: .now).inSeconds
    return forecast.plan()
  }

  // MARK: what is there

  /// The questions of `regenerate`; nil without them, and where they have gone and the answers are there.
  private func regeneration() throws -> GenerationWork? {
    guard !recipe.regenerate.input.isEmpty else { return nil }
    do {
      return try GenerationWork(recipe.regenerate, model)
    } catch {
      guard FileManager.default.fileExists(atPath: recipe.regenerate.output) else { throw error }
      return nil
    }
  }

  /// Conversations of the files that are there, and of those that the run will generate first.
  private func dataSample(_ regeneration: GenerationWork?) throws -> DataSample {
    var data = recipe.data
    let generated = generatedFiles.filter { !FileManager.default.fileExists(atPath: $0) }
    data.train.removeAll { generated.contains($0.path) }
    var sample = data.train.isEmpty ? DataSample() : try DataSample(data: data, model: model)
    for file in recipe.data.train where generated.contains(file.path) {
      sample.conversations += supposedConversations(file, regeneration)
    }
    return elsewhere.dataTokens.map { sample.scaled(toTokens: $0) } ?? sample
  }

  private var generatedFiles: [String] {
    (recipe.regenerate.input.isEmpty ? [] : [recipe.regenerate.output])
      + (recipe.synthesize.conversations == 0 ? [] : [recipe.synthesize.output])
  }

  /// As if every answer became as long as it may.
  private func supposedConversations(
    _ file: DataFile, _ regeneration: GenerationWork?
  ) -> [DataSample.Conversation] {
    func conversation(_ prompt: Int, _ answer: Int, _ count: Double) -> DataSample.Conversation {
      let length = min(recipe.data.maxLength, prompt + answer)
      let mask = (0..<length).map { UInt8($0 < prompt ? 0 : 1) }
      return .init(
        ids: [Int32](repeating: 0, count: length), mask: mask, count: count, trained: count * file.weight)
    }
    if file.path == recipe.regenerate.output, let work = regeneration {
      return work.promptTokens.map {
        conversation($0, recipe.regenerate.maxNewTokens, work.answers / Double(work.promptTokens.count))
      }
    }
    let config = recipe.synthesize
    return [conversation(config.questionTokens, config.maxNewTokens, GenerationWork(config).answers)]
  }

  // MARK: what is measured

  private func work(
    _ sample: DataSample, _ evaluation: EvaluationWork, _ regeneration: GenerationWork?, _ peak: Double
  ) -> Work {
    let ranks = cluster.size
    let lengths = sample.conversations.map(\.ids.count)
    let all = Double(lengths.reduce(0, +))
    let captureRate = 0.8 * peak / (NeededOperations.capture(sizes.target, lengths: lengths) / all)
    let captured = max(64, min(CapturePass.batchTokens, Int(PlanMeasurement.seconds * captureRate)))
    let operations = NeededOperations.training(
      sizes.draft, masks: sample.conversations.map(\.mask), depths: recipe.train.tttLength)
    let trainRate = 0.8 * peak / max(1, operations / all)
    let affordable = max(128, min(BatchPlan.microBatchTokens, Int(PlanMeasurement.seconds * trainRate)))
    let step = min(recipe.train.tokensPerBatch, ranks * affordable)
    let stepSeconds = Double(step) / Double(ranks) / trainRate
    let steps = max(1, min(24, Int(PlanMeasurement.seconds / stepSeconds)))
    let longest = step < recipe.train.tokensPerBatch ? affordable : recipe.data.maxLength
    var work = Work(
      capture: sample.picked(tokens: ranks * captured, longest: max(128, captured)),
      training: sample.picked(tokens: (steps + 2) * (step + Int(all) / lengths.count / 2), longest: longest),
      tokensPerBatch: step, prompts: evaluation.picked(4 * ranks), generatedPromptTokens: 0)
    while work.capture.count < ranks { work.capture += work.capture }
    if !generatedFiles.isEmpty { work.generatedPromptTokens = Int(promptTokens(regeneration)) }
    return work
  }

  private func promptTokens(_ regeneration: GenerationWork?) -> Double {
    guard let work = regeneration else {
      return Double(max(8, recipe.synthesize.questionTokens / 2))
    }
    return max(1, Double(work.promptTokens.reduce(0, +)) / Double(max(1, work.promptTokens.count)))
  }
}

/// The prompts of the recipe's benchmarks.
struct EvaluationWork {
  /// User turns of each prompt, and the ids of the first.
  var turns: [Int] = []
  var ids: [[Int32]] = []

  init() {}

  /// - Throws: for a prompt file that cannot be read
  init(_ config: EvaluateConfig, _ model: ChatModel) throws {
    for (_, path) in config.benchmarks.sorted(by: { $0.key < $1.key }) {
      for prompt in try PromptReader.read(path: path).prefix(config.limit) {
        turns.append(prompt.turns.count)
        ids.append(try model.prompt([ChatMessage(role: .user, content: prompt.turns[0])]))
      }
    }
  }

  /// Some of them, from all files alike.
  func picked(_ count: Int) -> [[Int32]] {
    guard ids.count > count else { return ids }
    return (0..<count).map { ids[(2 * $0 + 1) * ids.count / (2 * count)] }
  }
}

/// What is to be generated before there is anything to train on.
struct GenerationWork {
  private static let mostPrompts = 200

  /// Answers, and tokens that are written for each at most.
  var answers: Double
  var newTokens: Double
  /// Of some of the prompts.
  var promptTokens: [Int] = []

  init(_ config: SynthesizeConfig) {
    // Each conversation draws its number of turns.
    answers = Double(config.conversations) * Double(1 + config.turns) / 2
    newTokens = Double(config.questionTokens + config.maxNewTokens)
  }

  /// - Throws: for a file of prompts that cannot be read
  init(_ config: RegenerateConfig, _ model: ChatModel) throws {
    (answers, newTokens) = (0, Double(config.maxNewTokens))
    var prompts = PromptStream(paths: config.input)
    while let prompt = try prompts.next() {
      answers += Double(prompt.turns.count)
      if promptTokens.count < Self.mostPrompts, let turn = prompt.turns.first {
        promptTokens.append(try model.prompt([ChatMessage(role: .user, content: turn)]).count)
      }
    }
  }
}
