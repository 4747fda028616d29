import EagleCore

/// One turn of a conversation.
public struct ChatMessage: Sendable, Equatable {
  public enum Role: String, Sendable, Equatable, CaseIterable {
    case system, user, assistant
  }

  public let role: Role
  public let content: String
  /// Whether an answer was broken off, so that its end is not the author's.
  public let isCut: Bool
  /// Further fields that a client gave the message, in its order: `name`, `reasoning_content`. No template reads them
  /// yet.
  package var extra = JSON.Object()

  public init(role: Role, content: String, isCut: Bool = false) {
    self.role = role
    self.content = content
    self.isCut = isCut
  }
}

/// A conversation as data files hold it; `id` names it in reports and must say which line it came from.
public struct Conversation: Sendable, Equatable {
  public let id: String
  public let messages: [ChatMessage]

  public init(id: String, messages: [ChatMessage]) {
    self.id = id
    self.messages = messages
  }

  /// Checks the order of turns that training data must have: at most one system message, first; then user and assistant
  /// alternately, user first.
  public func checkTurns() throws {
    let turns = messages.first?.role == .system ? messages.dropFirst() : messages[...]
    guard !turns.isEmpty else { throw TextError("conversation \(id): it has no user or assistant turn") }
    for (index, message) in turns.enumerated() {
      let expected: ChatMessage.Role = index.isMultiple(of: 2) ? .user : .assistant
      guard message.role == expected else {
        let position = index + messages.count - turns.count + 1
        throw TextError(
          "conversation \(id): message \(position) is from \(message.role.rawValue), expected \(expected.rawValue)")
      }
    }
  }
}

/// A conversation as token ids with the loss mask that belongs to them.
public struct RenderedConversation: Sendable, Equatable {
  public let ids: [Int32]  // [T]
  public let lossMask: [UInt8]  // [T] 1 on each trained turn's content and its end-of-turn token
  /// The turns with their first tokens, headers included.
  public let turns: [Turn]

  public struct Turn: Sendable, Equatable {
    public let role: ChatMessage.Role
    public let start: Int
  }

  public init(ids: [Int32], lossMask: [UInt8], turns: [Turn] = []) {
    precondition(ids.count == lossMask.count, "\(ids.count) ids, but a mask of \(lossMask.count)")
    self.ids = ids
    self.lossMask = lossMask
    self.turns = turns
  }
}
