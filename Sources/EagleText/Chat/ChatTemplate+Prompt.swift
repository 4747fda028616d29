import EagleCore
import Foundation

extension ChatTemplate {
  /// The ids before an answer: `messages` and the beginning of the assistant's turn.
  ///
  /// Where the last message is from the assistant it is continued: its turn stays open and no other one begins, as with
  /// `continue_final_message` in transformers.
  ///
  /// - Parameters:
  ///   - tools: descriptions of the tools that the answer may call
  ///   - options: variables of the template, `enable_thinking` for one
  /// - Throws: `TextError` without a message; `TemplateError` for messages that the template refuses
  package func prompt(
    _ messages: [ChatMessage], tools: [JSON] = [], options: JSON.Object = JSON.Object(), tokenizer: Tokenizer
  ) throws -> [Int32] {
    let text = try promptText(messages, tools: tools, options: options)
    return try tokenizer.encode(text.text, ordinary: text.data).ids
  }

  func promptText(_ messages: [ChatMessage], tools: [JSON], options: JSON.Object) throws -> RenderedText {
    guard let last = messages.last else { throw TextError("prompt: it has no message") }
    guard last.role == .assistant else {
      return try render(messages, tools: tools, options: options, ending: .generationPrompt)
    }
    if last.content.allSatisfy(\.isWhitespace) {
      var text = try render(messages.dropLast(), tools: tools, options: options, ending: .generationPrompt)
      text.append(last.content, isData: true)
      return text
    }
    var text = try render(messages, tools: tools, options: options, ending: .lastMessage)
    guard let end = text.end(ofLast: last.content) else {
      throw TextError("\(source.path): the last message of the assistant cannot be continued: it is not rendered whole")
    }
    text.truncate(to: end)
    return text
  }

  /// The ids before a question that the model is to write itself: `messages`, the last of them an answer, and the
  /// beginning of a user's turn.
  package func questionPrompt(_ messages: [ChatMessage], opening: String, tokenizer: Tokenizer) throws -> [Int32] {
    if let last = messages.last, ![.system, .developer, .assistant].contains(last.role) {
      throw TextError("prompt: its last message is from the \(last.role.rawValue), expected assistant")
    }
    let question = "EagleTrain"
    var text = try render(messages + [ChatMessage(role: .user, content: question)], ending: .lastMessage)
    guard let end = text.end(ofLast: question) else {
      throw TextError(
        "\(source.path): the beginning of a user's turn cannot be found: its content is not rendered whole")
    }
    text.truncate(to: end - question.utf8.count)
    text.append(opening, isData: true)
    return try tokenizer.encode(text.text, ordinary: text.data).ids
  }
}

extension RenderedText {
  /// The end of the last occurrence of a message's content in the text, whose white space templates may trim.
  fileprivate func end(ofLast content: String) -> Int? {
    let trimmed = Array(content.trimmingCharacters(in: .whitespacesAndNewlines).utf8)
    // First in what messages say: a short content may be a part of the template's own text, of <|im_end|> for one.
    let parts = data.reversed() + [0..<count]
    guard let end = parts.lazy.compactMap({ bytes.lastRange(of: trimmed, in: $0)?.upperBound }).first else {
      return nil
    }
    // The white space at the end is kept where the template keeps it.
    let blanks = Array(content.utf8.reversed().prefix { [0x20, 0x09, 0x0A, 0x0D].contains($0) }.reversed())
    return bytes[end...].starts(with: blanks) ? end + blanks.count : end
  }
}
