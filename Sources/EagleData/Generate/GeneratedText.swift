import EagleChat
import EagleText

/// The text that the target generated for a request.
struct GeneratedText {
  /// The token ids of the text, from the local tokenizer.
  let ids: [Int32]
  /// The number of tokens that the target generated for it.
  let tokenCount: Int
  /// The message. For a question, only its content is used.
  let message: ChatMessage

  var text: String { message.content }
  /// Whether the text was cut at its maximum length.
  var isCut: Bool { message.isCut }

  /// A text of the local target.
  ///
  /// - Parameters:
  ///   - ids: at least one
  ///   - prompt: the prompt before them; if it opens `<think>`, the text begins with that tag
  init(_ ids: [Int32], _ format: ChatFormat, prompt: [Int32]) {
    precondition(!ids.isEmpty, "the target wrote 0 tokens")
    self.ids = ids
    tokenCount = ids.count
    let text = (format.opensReasoning(prompt) ? "<think>\n" : "") + format.text(ids)
    message = ChatMessage(role: .assistant, content: text, isCut: !format.stopIDs.contains(ids[ids.count - 1]))
  }

  /// A text of a server.
  ///
  /// - Parameter tokenCount: the count that the server reports; nil uses the number of ids
  init(_ message: ChatMessage, ids: [Int32], tokenCount: Int?) {
    (self.message, self.ids, self.tokenCount) = (message, ids, tokenCount ?? ids.count)
  }
}
