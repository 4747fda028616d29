import EagleChat
import EagleText

/// What the target wrote for a request.
struct GeneratedText {
  /// The ids of the text, by the local tokenizer.
  let ids: [Int32]
  /// The tokens that the target made for it.
  let tokenCount: Int
  /// The message, for an answer; the content alone counts for a question.
  let message: ChatMessage

  var text: String { message.content }
  /// Whether the text was broken off at its greatest length.
  var isCut: Bool { message.isCut }

  /// The text of the local target.
  ///
  /// - Parameters:
  ///   - ids: at least one
  ///   - prompt: what they were written behind; where it opens `<think>`, the text begins with that
  init(_ ids: [Int32], _ format: ChatFormat, prompt: [Int32]) {
    precondition(!ids.isEmpty, "the target wrote 0 tokens")
    self.ids = ids
    tokenCount = ids.count
    let text = (format.opensReasoning(prompt) ? "<think>\n" : "") + format.text(ids)
    message = ChatMessage(role: .assistant, content: text, isCut: !format.stopIDs.contains(ids[ids.count - 1]))
  }

  /// A text of a server.
  ///
  /// - Parameter tokenCount: as the server says; nil counts the ids
  init(_ message: ChatMessage, ids: [Int32], tokenCount: Int?) {
    (self.message, self.ids, self.tokenCount) = (message, ids, tokenCount ?? ids.count)
  }
}
