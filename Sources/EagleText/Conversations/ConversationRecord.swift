/// One line of a conversation file.
struct ConversationRecord: Decodable {
  let id: String?
  let messages: [ChatMessage]

  enum CodingKeys: String, CodingKey {
    case id, conversations, messages
  }

  init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: CodingKeys.self)
    id = try fields.decodeIfPresent(RecordID.self, forKey: .id)?.text
    let key = [CodingKeys.conversations, .messages].first(where: fields.contains)
    guard let key else { throw TextError("there is neither \"conversations\" nor \"messages\"") }
    messages = try fields.decode([Turn].self, forKey: key).enumerated().map { index, turn in
      try turn.message(number: index + 1)
    }
    guard !messages.isEmpty else { throw TextError("the list \"\(key.stringValue)\" is empty") }
  }

  private struct Turn: Decodable {
    let role: String?
    let from: String?
    let content: String?
    let value: String?
    let cut: Bool?

    func message(number: Int) throws -> ChatMessage {
      guard let name = role ?? from else { throw TextError("message \(number) has neither \"role\" nor \"from\"") }
      guard let role = Turn.roles[name] else { throw TextError("message \(number) has the unknown role \"\(name)\"") }
      guard let text = content ?? value else { throw TextError("message \(number) has no text") }
      return ChatMessage(role: role, content: text, isCut: cut ?? false)
    }

    private static let roles: [String: ChatMessage.Role] = [
      "system": .system, "user": .user, "human": .user, "assistant": .assistant, "gpt": .assistant,
    ]
  }
}

/// An id as data files have it, a string or a number.
struct RecordID: Decodable {
  let text: String

  init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if let text = try? container.decode(String.self) {
      self.text = text
    } else if let number = try? container.decode(Int.self) {
      text = "\(number)"
    } else {
      throw TextError("the id is neither a string nor a whole number")
    }
  }
}
