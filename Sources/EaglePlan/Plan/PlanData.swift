import EagleChat
import EagleCore
import EagleData
import EagleRecipe
import Foundation

/// The counted part of a plan: the content of the files of a run, and the work of generation and evaluation.
struct PlanData {
  private(set) var sample = DataSample()
  private(set) var evaluation = EvaluationWork()
  /// The work of `regenerate`; nil without it, and if its prompts do not exist any more but the answers do.
  private(set) var regeneration: GenerationWork?
  /// The mean number of tokens of the prompts of generation; nil if the run generates nothing.
  private(set) var generatedPromptTokens: Int?

  /// Creates an empty instance for ranks other than 0, which count no files.
  init() {}

  /// - Parameter dataTokens: the number of tokens of the whole data, if the files are only a part of it
  /// - Throws: for files that cannot be read, and without a conversation to train on
  init(_ recipe: Recipe, _ model: ChatModel, dataTokens: Double?) throws {
    regeneration = try Self.regeneration(recipe, model)
    sample = try Self.sample(recipe, model, regeneration)
    if let dataTokens { sample = sample.scaled(toTokens: dataTokens) }
    evaluation = try EvaluationWork(recipe.evaluate, model)
    if !Self.generatedFiles(recipe).isEmpty {
      generatedPromptTokens = Int(Self.promptTokens(recipe, regeneration))
    }
  }

  private static func regeneration(_ recipe: Recipe, _ model: ChatModel) throws -> GenerationWork? {
    guard !recipe.regenerate.input.isEmpty else { return nil }
    do {
      return try GenerationWork(recipe.regenerate, model)
    } catch {
      guard FileManager.default.fileExists(atPath: recipe.regenerate.output) else { throw error }
      return nil
    }
  }

  /// A sample of the conversations in existing files, and of those that the run will generate first.
  private static func sample(
    _ recipe: Recipe, _ model: ChatModel, _ regeneration: GenerationWork?
  ) throws -> DataSample {
    var data = recipe.data
    let generated = generatedFiles(recipe).filter { !FileManager.default.fileExists(atPath: $0) }
    data.train.removeAll { generated.contains($0.path) }
    var sample = data.train.isEmpty ? DataSample() : try DataSample(data: data, model: model)
    for file in recipe.data.train where generated.contains(file.path) {
      sample.conversations += expectedConversations(file, recipe, regeneration: regeneration)
    }
    return sample
  }

  private static func generatedFiles(_ recipe: Recipe) -> [String] {
    (recipe.regenerate.input.isEmpty ? [] : [recipe.regenerate.output])
      + (recipe.synthesize.conversations == 0 ? [] : [recipe.synthesize.output])
  }

  /// The conversations of a file that does not exist yet, with answers of maximum length.
  private static func expectedConversations(
    _ file: DataFile, _ recipe: Recipe, regeneration: GenerationWork?
  ) -> [DataSample.Conversation] {
    func conversation(prompt: Int, answer: Int, count: Double) -> DataSample.Conversation {
      let length = min(recipe.data.maxLength, prompt + answer)
      let mask = (0..<length).map { UInt8($0 < prompt ? 0 : 1) }
      return .init(
        ids: [Int32](repeating: 0, count: length), mask: mask, count: count, trained: count * file.weight)
    }
    if file.path == recipe.regenerate.output, let work = regeneration {
      return work.promptTokens.map {
        conversation(
          prompt: $0, answer: recipe.regenerate.maxNewTokens, count: work.answers / Double(work.promptTokens.count))
      }
    }
    let config = recipe.synthesize
    return [
      conversation(
        prompt: config.questionTokens, answer: config.maxNewTokens, count: GenerationWork(config).answers)
    ]
  }

  private static func promptTokens(_ recipe: Recipe, _ regeneration: GenerationWork?) -> Double {
    guard let work = regeneration else { return Double(max(8, recipe.synthesize.questionTokens / 2)) }
    return max(1, Double(work.promptTokens.reduce(0, +)) / Double(max(1, work.promptTokens.count)))
  }
}
