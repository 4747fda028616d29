import EagleCore
import EagleText

/// Renders the dialogues of an evaluation to token ids.
struct PromptRenderer {
  let model: ChatModel
  /// Variables of the chat template.
  private let options: JSON.Object

  init(_ model: ChatModel, _ reasoning: Reasoning) throws {
    self.model = model
    options = try reasoning.options(of: model.template)
  }

  func ids(_ messages: [ChatMessage]) throws -> [Int32] { try model.prompt(messages, tools: [], options: options) }

  /// The ids of a prompt's turn, with the system message before the first.
  func ids(of prompt: Prompt, turn: Int = 0) throws -> [Int32] {
    let system = turn == 0 ? prompt.system.map { [ChatMessage(role: .system, content: $0)] } ?? [] : []
    return try ids(system + [ChatMessage(role: .user, content: prompt.turns[turn])])
  }

  /// Throws for a dialogue that may exceed the target's context, if the answer to every turn has `maxNewTokens` tokens.
  func check(_ prompts: [Prompt], maxNewTokens: Int, path: String) throws {
    let limit = model.target.shape.maxPositions
    for prompt in prompts {
      let promptTokens = try prompt.turns.indices.reduce(0) { $0 + (try ids(of: prompt, turn: $1).count) }
      // promptTokens + turns * maxNewTokens <= limit, without a product that could overflow.
      let turns = prompt.turns.count
      guard promptTokens > limit || maxNewTokens > (limit - promptTokens) / max(1, turns) else { continue }
      throw LocatedError(
        path: path,
        problem: "the prompt \(prompt.id) has \(promptTokens) tokens and \(turns) answers of up to "
          + "\(maxNewTokens), and the target has \(limit) positions",
        advice: "lower evaluate.max_new_tokens, or take the prompt out")
    }
  }
}
