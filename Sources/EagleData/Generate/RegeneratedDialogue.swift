import EagleChat
import EagleCore
import EagleDecoding
import EagleText

/// A prompt and the answers so far.
private struct RegeneratedDialogue {
  struct Answer {
    let text: String
    let isCut: Bool
  }

  let prompt: Prompt
  let key: String
  var answers: [Answer] = []

  init(prompt: Prompt) {
    self.prompt = prompt
    key = prompt.key
  }

  /// Everything up to the next user turn; nil when all turns are answered, or an answer was broken off.
  var nextMessages: [ChatMessage]? {
    guard answers.count < prompt.turns.count, answers.last?.isCut != true else { return nil }
    let past = zip(prompt.turns, answers).flatMap {
      [ChatMessage(role: .user, content: $0), ChatMessage(role: .assistant, content: $1.text)]
    }
    return system + past + [ChatMessage(role: .user, content: prompt.turns[answers.count])]
  }

  private var system: [ChatMessage] { prompt.system.map { [ChatMessage(role: .system, content: $0)] } ?? [] }

  /// The conversation as it stands in the output.
  var line: GeneratedFile.Line {
    typealias Message = GeneratedFile.Line.Message
    let turns = zip(prompt.turns, answers).flatMap {
      [Message(role: "user", content: $0), Message(role: "assistant", content: $1.text, cut: $1.isCut ? true : nil)]
    }
    return GeneratedFile.Line(
      id: prompt.id, key: key, conversations: system.map { Message(role: "system", content: $0.content) } + turns,
      tools: prompt.tools.isEmpty ? nil : JSON.array(prompt.tools).text())
  }
}

/// The prompts that one rank answers, turn by turn.
final class RegenerationSource: DialogueSource {
  private let prompts: PromptQueue
  private let file: GeneratedFile
  private let model: ChatModel
  private let config: RegenerateConfig
  private let maxLength: Int
  /// Conversations in progress, by the id of their requests.
  private var open: [Int: RegeneratedDialogue] = [:]
  private var begun = 0
  private(set) var counts = GenerationCounts()

  /// - Parameter maxLength: tokens of a prompt, at most; a longer one ends its conversation
  init(prompts: PromptQueue, file: GeneratedFile, model: ChatModel, config: RegenerateConfig, maxLength: Int) {
    self.prompts = prompts
    self.file = file
    self.model = model
    self.config = config
    self.maxLength = maxLength
  }

  /// The conversations of earlier runs, and those that all ranks have taken, less as many as this rank has open.
  var finishedByAll: Int { file.known.count + prompts.passed - open.count }

  func next() throws -> DecodingRequest? {
    while let prompt = try prompts.next() {
      begun += 1
      if let request = try request(begun, RegeneratedDialogue(prompt: prompt)) { return request }
    }
    return nil
  }

  /// The request for the next answer; nil when the dialogue has come to its end, which writes it.
  private func request(_ id: Int, _ dialogue: RegeneratedDialogue) throws -> DecodingRequest? {
    if let messages = dialogue.nextMessages {
      let ids = try model.prompt(messages, tools: dialogue.prompt.tools)
      if ids.count <= maxLength {
        open[id] = dialogue
        return DecodingRequest(
          id: id, prompt: ids,
          sampling: config.sampling.options(for: "answer \(dialogue.answers.count + 1) of \(dialogue.key)"),
          maxNewTokens: config.maxNewTokens)
      }
      counts.tooLong += 1
    }
    if !dialogue.answers.isEmpty { try file.append(dialogue.line) }
    counts.conversations += 1
    return nil
  }

  func take(_ ids: [Int32], for request: DecodingRequest) throws -> DecodingRequest? {
    guard var dialogue = open.removeValue(forKey: request.id) else {
      preconditionFailure("request \(request.id) is none of \(open.count) open ones")
    }
    let answer = GeneratedText(ids, model, prompt: request.prompt)
    dialogue.answers.append(.init(text: answer.text, isCut: answer.isCut))
    counts.add(answer)
    if answer.isCut { counts.cut += 1 }
    if Repetition.endsInLoop(ids) { counts.looping += 1 }
    return try self.request(request.id, dialogue)
  }

  func failure(of request: DecodingRequest, _ error: any Error) -> any Error {
    GenerationError("prompt \(open[request.id]?.key ?? "?"): \(error)")
  }
}
