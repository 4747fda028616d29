/// Renders conversations in ChatML, `<|im_start|>role\ncontent<|im_end|>\n` a turn, as token ids with a loss mask.
///
/// The ids equal those of `apply_chat_template` in Hugging Face transformers, with one difference on purpose: a
/// content that spells out an added token, such as `<|im_end|>`, stays text and cannot forge a turn.
package struct ChatTemplate: Sendable {
  /// The model families whose templates are known; they differ in the system message.
  package enum Family: String, Sendable, CaseIterable {
    case qwen3Instruct = "qwen3-instruct"
    case smollm2

    /// The system message of a conversation that has none.
    var defaultSystem: String? {
      switch self {
      case .qwen3Instruct: nil
      case .smollm2: "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
      }
    }
  }

  package let family: Family
  /// The id of `<|im_end|>`, which ends every turn.
  package let endOfTurn: Int32
  /// The ids at which an answer ends: the end of turn, and the end of text where the vocabulary has one.
  package let stopIDs: Set<Int32>
  private let startOfTurn: Int32

  /// Looks up the control tokens; throws when `tokenizer` lacks one of them.
  package init(_ family: Family, tokenizer: Tokenizer) throws {
    self.family = family
    startOfTurn = try ChatTemplate.control("<|im_start|>", tokenizer)
    endOfTurn = try ChatTemplate.control("<|im_end|>", tokenizer)
    let endOfText = tokenizer.id(of: "<|endoftext|>").flatMap { tokenizer.isSpecial($0) ? $0 : nil }
    stopIDs = Set([endOfTurn, endOfText].compactMap { $0 })
  }

  private static func control(_ token: String, _ tokenizer: Tokenizer) throws -> Int32 {
    guard let id = tokenizer.id(of: token), try tokenizer.encode(token) == [id] else {
      throw TextError("the tokenizer has no control token \(token), which ChatML needs")
    }
    guard try tokenizer.encodeOrdinary(token) != [id] else {
      throw TextError("the tokenizer reads ordinary text as the control token \(token)")
    }
    return id
  }

  /// The whole conversation with its loss mask, which covers the turns of `trained`.
  ///
  /// - Throws: `TextError` for a wrong order of turns, and for a conversation without an answer
  package func render(
    _ conversation: Conversation, tokenizer: Tokenizer, trained: Set<ChatMessage.Role> = [.assistant]
  ) throws -> RenderedConversation {
    try conversation.checkTurns()
    guard conversation.messages.contains(where: { $0.role == .assistant }) else {
      throw TextError("conversation \(conversation.id): it has no assistant turn to train on")
    }
    return try rendering(conversation.messages, tokenizer, trained: trained).result
  }

  /// The ids before an answer: `messages` and the header of the assistant's turn.
  ///
  /// The roles may come in any order, as these templates take them: several system messages, a user twice, an assistant
  /// first. Where the last message is from the assistant it is continued: its turn stays open and no other one begins,
  /// as with `continue_final_message` in transformers.
  ///
  /// - Throws: `TextError` without a message
  package func prompt(_ messages: [ChatMessage], tokenizer: Tokenizer) throws -> [Int32] {
    guard let last = messages.last else { throw TextError("prompt: it has no message") }
    let begun = last.role == .assistant ? last.content : nil
    var rendering = try rendering(begun == nil ? messages : messages.dropLast(), tokenizer)
    rendering.append([startOfTurn], trained: false)
    rendering.append(try tokenizer.encodeOrdinary("assistant\n" + (begun ?? "")), trained: false)
    return rendering.ids
  }

  /// The ids before a question that the model is to write itself: `messages`, the last of them an answer, and the
  /// beginning of a user's turn.
  package func questionPrompt(_ messages: [ChatMessage], opening: String, tokenizer: Tokenizer) throws -> [Int32] {
    if messages.contains(where: { $0.role != .system }) {
      try Conversation(id: "prompt", messages: messages).checkTurns()
      guard messages.last?.role == .assistant else {
        throw TextError("prompt: its last message is from the user, expected assistant")
      }
    }
    var rendering = try rendering(messages, tokenizer)
    rendering.append([startOfTurn], trained: false)
    rendering.append(try tokenizer.encodeOrdinary("user\n" + opening), trained: false)
    return rendering.ids
  }

  private func rendering(
    _ messages: [ChatMessage], _ tokenizer: Tokenizer, trained: Set<ChatMessage.Role> = []
  ) throws -> Rendering {
    var rendering = Rendering()
    let lineEnd = try tokenizer.encodeOrdinary("\n")
    for message in completed(messages) {
      rendering.turns.append(.init(role: message.role, start: rendering.ids.count))
      rendering.append([startOfTurn], trained: false)
      let isTrained = trained.contains(message.role)
      try appendTurn(message, tokenizer, trained: isTrained, to: &rendering)
      rendering.append([endOfTurn], trained: isTrained && !message.isCut)
      rendering.append(lineEnd, trained: false)
    }
    return rendering
  }

  private func completed(_ messages: [ChatMessage]) -> [ChatMessage] {
    guard messages.first?.role != .system, let system = family.defaultSystem else { return messages }
    return [ChatMessage(role: .system, content: system)] + messages
  }

  /// Header and content are one text between two control tokens, so they are encoded as one: a line end of the header
  /// can join white space of the content. A token that reaches across the border belongs to the header.
  private func appendTurn(
    _ message: ChatMessage, _ tokenizer: Tokenizer, trained: Bool, to rendering: inout Rendering
  ) throws {
    let header = message.role.rawValue + "\n"
    let (ids, starts) = try tokenizer.encodeOrdinaryWithStarts(header + message.content)
    let border = starts.firstIndex { $0 >= header.utf8.count } ?? ids.count
    rendering.append(ids[..<border], trained: false)
    rendering.append(ids[border...], trained: trained)
  }

  private struct Rendering {
    var ids: [Int32] = []
    var lossMask: [UInt8] = []
    var turns: [RenderedConversation.Turn] = []

    var result: RenderedConversation { RenderedConversation(ids: ids, lossMask: lossMask, turns: turns) }

    mutating func append(_ tokens: some Collection<Int32>, trained: Bool) {
      ids.append(contentsOf: tokens)
      lossMask.append(contentsOf: repeatElement(trained ? 1 : 0, count: tokens.count))
    }
  }
}
