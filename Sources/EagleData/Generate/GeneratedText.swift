import EagleChat

/// What the target wrote for a request.
struct GeneratedText {
  let ids: [Int32]
  let text: String
  /// Whether the text was broken off at its greatest length.
  let isCut: Bool

  /// - Parameters:
  ///   - ids: at least one
  ///   - prompt: what they were written behind; where it opens `<think>`, the text begins with that
  init(_ ids: [Int32], _ model: ChatModel, prompt: [Int32]) {
    precondition(!ids.isEmpty, "the target wrote 0 tokens")
    self.ids = ids
    text = (model.opensReasoning(prompt) ? "<think>\n" : "") + model.text(ids)
    isCut = !model.stopIDs.contains(ids[ids.count - 1])
  }
}
