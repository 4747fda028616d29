import EagleChat
import EagleData
import EagleRecipe
import EagleText

/// The prompts of the recipe's benchmarks, at each context length.
struct EvaluationWork {
  /// The number of user turns of each prompt.
  var turns: [Int] = []
  /// The token ids of the first turn of each prompt.
  var ids: [[Int32]] = []

  init() {}

  /// - Throws: for a prompt file that cannot be read, and for prompts that do not fit into the target's context
  init(_ config: EvaluateConfig, _ model: ChatModel) throws {
    for prompt in try config.sets(model).flatMap(\.prompts) {
      turns.append(prompt.turns.count)
      ids.append(try model.prompt([ChatMessage(role: .user, content: prompt.turns[0])]))
    }
  }

  /// At most `count` of the first turns, taken evenly from all files.
  func picked(_ count: Int) -> [[Int32]] {
    guard ids.count > count else { return ids }
    return (0..<count).map { ids[(2 * $0 + 1) * ids.count / (2 * count)] }
  }
}

extension Recipe {
  /// The batch size and the maximum number of new tokens of each stage that generates.
  var generations: [(batch: Int, tokens: Int)] {
    (regenerate.input.isEmpty ? [] : [(regenerate.batch, regenerate.maxNewTokens)])
      + (synthesize.conversations > 0 ? [(synthesize.batch, synthesize.maxNewTokens)] : [])
  }
}

/// The answers that a run generates before training.
struct GenerationWork {
  /// The maximum number of prompts that are tokenised.
  private static let mostPrompts = 200

  /// The number of answers of the target.
  var answers: Double
  /// The maximum number of new tokens of an answer.
  var newTokens: Double
  /// The number of tokens of each of some prompts.
  var promptTokens: [Int] = []

  init(_ config: SynthesizeConfig) {
    // Each conversation samples its number of turns.
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
