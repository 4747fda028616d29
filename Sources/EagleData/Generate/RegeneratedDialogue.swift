import EagleChat
import EagleCore
import EagleDecoding
import EagleDraft
import EagleText

/// A prompt and the answers so far.
private struct RegeneratedDialogue {
  let prompt: Prompt
  let key: String
  var answers: [ChatMessage] = []

  init(prompt: Prompt) {
    self.prompt = prompt
    key = prompt.key
  }

  /// Everything up to the next user turn; nil if all turns are answered, or an answer was cut.
  var nextMessages: [ChatMessage]? {
    guard answers.count < prompt.turns.count, answers.last?.isCut != true else { return nil }
    return system + past + [ChatMessage(role: .user, content: prompt.turns[answers.count])]
  }

  private var past: [ChatMessage] {
    zip(prompt.turns, answers).flatMap { [ChatMessage(role: .user, content: $0), $1] }
  }

  private var system: [ChatMessage] { prompt.system.map { [ChatMessage(role: .system, content: $0)] } ?? [] }

  /// The conversation as a line of the output.
  var line: GeneratedFile.Line {
    GeneratedFile.Line(
      id: prompt.id, key: key, conversations: (system + past).map { .init($0) },
      tools: prompt.tools.isEmpty ? nil : JSON.array(prompt.tools).text())
  }
}

/// The prompts that one rank answers, turn by turn.
final class RegenerationSource: DialogueSource {
  private let prompts: PromptQueue
  private let file: GeneratedFile
  private let format: ChatFormat
  private let config: RegenerateConfig
  private let maxLength: Int
  /// Conversations that earlier runs have finished.
  private let known: Int
  /// Conversations in progress, by the id of their requests.
  private var open: [Int: RegeneratedDialogue] = [:]
  private var begun = 0
  private(set) var counts = GenerationCounts()
  /// The first prompt that the template refuses, and why.
  private(set) var refusal: String?

  /// - Parameter maxLength: the maximum number of tokens of a prompt; a longer one ends its conversation
  init(
    prompts: PromptQueue, _ work: GenerationStage.Work, format: ChatFormat, config: RegenerateConfig, maxLength: Int
  ) {
    self.prompts = prompts
    (file, known) = (work.file, work.known)
    self.format = format
    self.config = config
    self.maxLength = maxLength
  }

  /// The conversations of earlier runs plus those that all ranks have taken, minus those that this rank has open.
  var finishedByAll: Int { known + prompts.passed - open.count }

  func next() throws -> DialogueRequest? {
    while let prompt = try prompts.next() {
      begun += 1
      if let request = try request(begun, RegeneratedDialogue(prompt: prompt)) { return request }
    }
    return nil
  }

  /// The request for the next answer; nil if the dialogue has ended; it is then written.
  private func request(_ id: Int, _ dialogue: RegeneratedDialogue) throws -> DialogueRequest? {
    if let messages = dialogue.nextMessages {
      let ids: [Int32]
      do {
        ids = try format.prompt(messages, tools: dialogue.prompt.tools)
      } catch {
        counts.refused += 1
        refusal = refusal ?? "prompt \(dialogue.key): \(error)"
        try end(dialogue)
        return nil
      }
      if ids.count <= maxLength {
        open[id] = dialogue
        return DialogueRequest(
          id: id, kind: .answer(messages, tools: dialogue.prompt.tools), prompt: ids,
          sampling: config.sampling.options(for: "answer \(dialogue.answers.count + 1) of \(dialogue.key)"),
          maxNewTokens: config.maxNewTokens)
      }
      counts.tooLong += 1
    }
    try end(dialogue)
    return nil
  }

  /// Writes the dialogue, if it has an answer.
  private func end(_ dialogue: RegeneratedDialogue) throws {
    if !dialogue.answers.isEmpty { try file.append(dialogue.line) }
    counts.conversations += 1
  }

  func take(_ text: GeneratedText, for request: DialogueRequest) throws -> DialogueRequest? {
    var dialogue = close(request)
    counts.add(text)
    if text.isCut { counts.cut += 1 }
    if Repetition.endsInLoop(text.ids) { counts.looping += 1 }
    let saysNothing = text.message.isEmpty && text.message.reasoning == nil && !text.isCut
    // `prepare` leaves out a conversation with an empty answer: later turns are in vain, and earlier answers stay.
    if !saysNothing || dialogue.answers.isEmpty { dialogue.answers.append(text.message) }
    guard !saysNothing else {
      try end(dialogue)
      return nil
    }
    return try self.request(request.id, dialogue)
  }

  func abandon(_ request: DialogueRequest, isFinal: Bool) throws {
    let dialogue = close(request)
    guard isFinal else {
      counts.failed += 1
      return
    }
    counts.refused += 1
    try end(dialogue)
  }

  private func close(_ request: DialogueRequest) -> RegeneratedDialogue {
    guard let dialogue = open.removeValue(forKey: request.id) else {
      preconditionFailure("request \(request.id) is none of \(open.count) open ones")
    }
    return dialogue
  }

  func failure(of request: DialogueRequest, _ error: any Error) -> any Error {
    GenerationError("prompt \(open[request.id]?.key ?? "?"): \(error)")
  }
}
