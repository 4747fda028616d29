import EagleCore

/// A conversation as data files hold it; `id` names it in reports and must say which line it came from.
public struct Conversation: Sendable, Equatable {
  /// The name in reports, which says the file and the line that the conversation came from.
  public let id: String
  /// The messages in their order.
  public let messages: [ChatMessage]
  /// Descriptions of the tools that the assistant could call, as templates take them.
  package var tools: [JSON] = []

  /// Creates a conversation from its messages.
  public init(id: String, messages: [ChatMessage]) {
    self.id = id
    self.messages = messages
  }

  /// The conversation without the reasoning of its answers.
  package func withoutReasoning() -> Conversation {
    var conversation = Conversation(id: id, messages: messages.map { $0.withoutReasoning() })
    conversation.tools = tools
    return conversation
  }
}

/// One line of a data file.
package enum DataRecord: Sendable, Equatable {
  case conversation(Conversation)
  /// A row that is tokenised already.
  case row(TokenRow)

  package var id: String {
    switch self {
    case .conversation(let conversation): conversation.id
    case .row(let row): row.id
    }
  }
}

/// Token ids [T] with their loss mask [T], 1 on what is trained.
package struct TokenRow: Sendable, Equatable {
  package let id: String
  package let ids: [Int32]
  package let lossMask: [UInt8]

  package init(id: String, ids: [Int32], lossMask: [UInt8]) {
    precondition(ids.count == lossMask.count, "\(ids.count) ids, but a mask of \(lossMask.count)")
    (self.id, self.ids, self.lossMask) = (id, ids, lossMask)
  }
}
