import EagleChat

/// What the target wrote for a request.
struct GeneratedText {
  let ids: [Int32]
  let text: String
  /// Whether the text was broken off at its greatest length.
  let isCut: Bool

  /// - Parameter ids: at least one
  init(_ ids: [Int32], _ model: ChatModel) {
    precondition(!ids.isEmpty, "the target wrote 0 tokens")
    self.ids = ids
    text = model.text(ids)
    isCut = !model.stopIDs.contains(ids[ids.count - 1])
  }
}
