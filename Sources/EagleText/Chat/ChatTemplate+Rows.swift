import EagleCore

/// The rows of tokens that a conversation becomes.
public enum ConversationRows: String, Codable, CaseIterable, Sendable {
  /// One row where each answer's prompt is a beginning of the whole conversation, else one for each answer.
  case auto
  /// One row; answers whose prompts are none of its beginnings carry no loss.
  case whole
  /// A row for each trained answer: its prompt and itself.
  case perAnswer = "per_answer"
  /// One row: the last answer with its prompt.
  case last

  public init(from decoder: any Decoder) throws { self = try decodeChoice(from: decoder) }
}

/// A row of tokens of a rendered conversation.
package struct RenderedConversation: Sendable, Equatable {
  package let ids: [Int32]  // [T]
  /// 1 on what the model would have written: each trained answer and its end-of-turn token.
  package let lossMask: [UInt8]  // [T]
  /// The turns with their first tokens, headers included.
  package let turns: [Turn]
  /// The number of the only answer that is trained, counted from 1; nil for a whole conversation.
  package let answer: Int?
  /// The text with the bytes that are trained.
  package let text: String
  package let spans: [Range<Int>]

  package struct Turn: Sendable, Equatable {
    package let role: ChatMessage.Role
    package let start: Int
  }
}

extension ChatTemplate {
  /// The conversation as rows of tokens with loss masks.
  ///
  /// A trained span is what the model would have written after the generation prompt of its turn, up to the first token
  /// that ends an answer; the missing end of an answer that was cut off carries no loss. A template may render an
  /// answer in the middle of a conversation otherwise than the model wrote it (without its reasoning, say): then `rows`
  /// decides.
  ///
  /// - Parameters:
  ///   - trained: the roles whose turns carry loss
  ///   - rows: how many rows there are to be
  /// - Throws: `TemplateError` for a conversation that the template refuses; `TextError` where no answer is rendered as
  ///   the model would have written it
  package func rows(
    of conversation: Conversation, tokenizer: Tokenizer, trained: Set<ChatMessage.Role> = [.assistant],
    rows: ConversationRows = .auto
  ) throws -> [RenderedConversation] {
    let answers = conversation.messages.indices.filter { conversation.messages[$0].role == .assistant }
    guard !answers.isEmpty else {
      throw TextError("conversation \(conversation.id): it has no assistant turn to train on")
    }
    let work = RowWork(template: self, conversation: conversation, tokenizer: tokenizer)
    switch rows {
    case .last: return [try work.row(of: try work.answer(answers[answers.count - 1]), number: answers.count)]
    case .perAnswer: return try work.rows(of: answers)
    case .whole, .auto:
      let whole = try work.row(of: try work.whole(), answers, trained: trained, isOnlyRow: rows == .whole)
      if whole.isComplete || (rows == .whole && !whole.spans.isEmpty) { return [try work.tokenised(whole)] }
      guard rows == .auto else {
        throw TextError(
          "conversation \(conversation.id): the template renders its answers otherwise than they were written")
      }
      return try work.rows(of: answers)
    }
  }
}

extension ChatTemplate {
  /// The prompt of the next answer as a row without loss.
  package func promptRow(_ conversation: Conversation, tokenizer: Tokenizer) throws -> RenderedConversation {
    let text = try promptText(conversation.messages, tools: conversation.tools, options: JSON.Object())
    let work = RowWork(template: self, conversation: conversation, tokenizer: tokenizer)
    return try work.tokenised(RowWork.Row(text: text))
  }
}

/// The renderings of one conversation.
private struct RowWork {
  let template: ChatTemplate
  let conversation: Conversation
  let tokenizer: Tokenizer

  private var messages: [ChatMessage] { conversation.messages }

  /// A rendered text and the bytes of it that carry loss.
  struct Row {
    var text: RenderedText
    var spans: [Range<Int>] = []
    /// Whether all answers are in it as the model would have written them.
    var isComplete = true
    var answer: Int?
  }

  /// An answer after its prompt, as the model writes it.
  struct Answer {
    let text: RenderedText
    /// What carries loss.
    let span: Range<Int>
    /// The end of what the model writes.
    let end: Int
    /// Whether the conversation's template renders it so, as the last message.
    let isRendered: Bool
  }

  // MARK: one row

  func whole() throws -> RenderedText {
    try template.render(messages, tools: conversation.tools, ending: .lastMessage)
  }

  /// The row of the whole text, with loss on the answers that are in it as the model would have written them.
  ///
  /// The text of each answer holds all messages before it, so only one at a time is in memory.
  ///
  /// - Parameters:
  ///   - answers: the messages that are answers, in order
  ///   - isOnlyRow: whether the row counts even without some of the answers; else the first that is missing ends it
  func row(of text: RenderedText, _ answers: [Int], trained: Set<ChatMessage.Role>, isOnlyRow: Bool) throws -> Row {
    var row = Row(text: text)
    if trained.contains(.user) { row.spans = turns(of: text).filter { $0.role == .user }.map(\.trained) }
    for index in answers where row.isComplete || isOnlyRow {
      if let answer = try answer(index, whole: text), answer.isRendered,
        text.agrees(with: answer.text, upTo: answer.end)
      {
        row.spans.append(answer.span)
      } else {
        row.isComplete = false
      }
    }
    row.spans.sort { $0.lowerBound < $1.lowerBound }
    return row
  }

  // MARK: a row for each answer

  /// - Parameter answers: the messages that are answers, in order
  func rows(of answers: [Int]) throws -> [RenderedConversation] {
    try answers.enumerated().map { try row(of: try answer($1), number: $0 + 1) }
  }

  func row(of answer: Answer?, number: Int) throws -> RenderedConversation {
    guard let answer else {
      throw TextError(
        "conversation \(conversation.id): the template renders answer \(number) otherwise than the model would write it"
      )
    }
    var row = Row(text: answer.text, spans: [answer.span], answer: number)
    row.text.truncate(to: answer.end)
    return try tokenised(row)
  }

  /// The answer that message `index` is, rendered as the last message; where its prompt is no beginning of that, after
  /// a prompt that opens `<think>`; else nil.
  ///
  /// - Parameter whole: the whole conversation, which a last answer need not render again
  func answer(_ index: Int, whole: RenderedText? = nil) throws -> Answer? {
    let prompt = try template.render(messages[..<index], tools: conversation.tools, ending: .generationPrompt)
    let isLast = index == messages.count - 1
    let text =
      try (isLast ? whole : nil)
      ?? template.render(messages[...index], tools: conversation.tools, ending: .lastMessage)
    guard text.agrees(with: prompt, upTo: prompt.count) else { return openedReasoning(messages[index], prompt) }
    return answer(messages[index], in: text, from: prompt.count)
  }

  private func answer(_ message: ChatMessage, in text: RenderedText, from start: Int) -> Answer {
    if let stop = text.first(of: template.stopTexts, from: start) {
      return Answer(
        text: text, span: start..<(message.isCut ? stop.lowerBound : stop.upperBound), end: stop.upperBound,
        isRendered: true)
    }
    // A template without an end of turn: its line ends are not the model's.
    let end = max(start, text.bytes.lastIndex { ![0x20, 0x09, 0x0A, 0x0D].contains($0) }.map { $0 + 1 } ?? 0)
    return Answer(text: text, span: start..<end, end: end, isRendered: true)
  }

  /// The answer of a model whose generation prompt opens `<think>`, which its template leaves out of history: the
  /// reasoning, the answer and the end of turn after the prompt. Nil without reasoning.
  private func openedReasoning(_ message: ChatMessage, _ prompt: RenderedText) -> Answer? {
    let start = prompt.count
    var text = prompt
    guard text.text.trimmingSuffix(while: \.isWhitespace).hasSuffix("<think>"), let reasoning = message.reasoning else {
      return nil
    }
    text.append("\(reasoning)\n</think>\n\n\(message.withoutReasoning().content)", isData: true)
    let content = text.count
    text.append(String(decoding: tokenizer.bytes(of: template.endOfTurn), as: UTF8.self), isData: false)
    return Answer(
      text: text, span: start..<(message.isCut ? content : text.count), end: text.count, isRendered: false)
  }

  // MARK: tokens

  func tokenised(_ row: Row) throws -> RenderedConversation {
    let (ids, starts) = try tokenizer.encode(row.text.text, ordinary: row.text.data)
    var mask = [UInt8](repeating: 0, count: ids.count)
    // A token that reaches across the beginning of a span belongs to the prompt.
    for span in row.spans {
      let first = starts.partitioningIndex { $0 >= span.lowerBound }
      let end = starts.partitioningIndex { $0 >= span.upperBound }
      for token in first..<max(first, end) { mask[token] = 1 }
    }
    let turns = turns(of: row.text).map { turn in
      RenderedConversation.Turn(role: turn.role, start: starts.partitioningIndex { $0 >= turn.start })
    }
    return RenderedConversation(
      ids: ids, lossMask: mask, turns: turns, answer: row.answer, text: row.text.text, spans: row.spans)
  }

  // MARK: turns

  private struct TextTurn {
    let role: ChatMessage.Role
    let start: Int
    /// Its content and the token that ends it.
    let trained: Range<Int>
  }

  /// The turns of a text, found by their contents; one whose content is empty or rendered otherwise has none.
  private func turns(of text: RenderedText) -> [TextTurn] {
    var turns: [TextTurn] = []
    var (start, from) = (0, 0)
    for message in messages {
      let content = Array(message.content.trimmingWhitespace().utf8)
      guard let found = text.content(content, from: from) else { continue }
      // A turn that the template begins by itself: its own system message.
      if turns.isEmpty, let stop = text.first(of: template.stopTexts, from: 0), stop.upperBound <= found.lowerBound {
        turns.append(TextTurn(role: .system, start: 0, trained: 0..<stop.upperBound))
        start = stop.upperBound
        while start < text.count, text.bytes[start] == 0x0A { start += 1 }
      }
      var end = found.upperBound
      if let stop = text.first(of: template.stopTexts, from: end),
        text.bytes[end..<stop.lowerBound].allSatisfy({ $0 <= 0x20 })
      {
        end = stop.upperBound
      }
      turns.append(TextTurn(role: message.role, start: start, trained: found.lowerBound..<end))
      while end < text.count, text.bytes[end] == 0x0A { end += 1 }
      (start, from) = (end, end)
    }
    return turns
  }
}

extension RenderedText {
  /// A content after `start`: the first text of a message that equals it, else the first that contains it.
  fileprivate func content(_ content: [UInt8], from start: Int) -> Range<Int>? {
    let later = data.filter { $0.upperBound > start }.map { $0.clamped(to: start..<count) }
    let exact = later.lazy.compactMap { range -> Range<Int>? in
      guard let found = bytes.firstRange(of: content, in: range) else { return nil }
      let others = bytes[range.lowerBound..<found.lowerBound] + bytes[found.upperBound..<range.upperBound]
      return others.allSatisfy { $0 <= 0x20 } ? found : nil
    }.first
    return exact ?? later.lazy.compactMap { bytes.firstRange(of: content, in: $0) }.first
  }
}

extension StringProtocol {
  fileprivate func trimmingSuffix(while isTrimmed: (Character) -> Bool) -> SubSequence {
    self[..<(lastIndex { !isTrimmed($0) }.map { index(after: $0) } ?? startIndex)]
  }

  fileprivate func trimmingWhitespace() -> SubSequence {
    trimmingSuffix(while: \.isWhitespace).drop(while: \.isWhitespace)
  }
}
