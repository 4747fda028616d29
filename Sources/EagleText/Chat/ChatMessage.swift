import EagleCore
import Foundation

/// One message of a conversation. A chat template sees it as its `MessageForm` says.
public struct ChatMessage: Sendable, Equatable {
  /// The author of a message, as chat templates name it.
  public enum Role: String, Sendable, Equatable, CaseIterable {
    /// A role of chat templates and of OpenAI's API.
    case system, user, assistant, developer, tool, function
  }

  /// The author of the message.
  public let role: Role
  /// The text of the message; empty where there is none.
  public let content: String
  /// Whether the answer was cut off, so that its end is not the author's.
  public let isCut: Bool
  /// Whether the message came with `content: null`, as answers that only call tools do.
  package var hasNoContent = false
  /// Further fields of the message, in its order: `name`, `tool_calls`, `tool_call_id`, `reasoning_content`.
  package var extra = JSON.Object()

  /// Creates a message.
  public init(role: Role, content: String, isCut: Bool = false) {
    self.role = role
    self.content = content
    self.isCut = isCut
  }

  /// Whether the message says nothing: it has no text and calls no tool.
  package var isEmpty: Bool { content.allSatisfy(\.isWhitespace) && extra["tool_calls"]?.isEmpty ?? true }

  /// The reasoning before an answer, from a field of its own or from `<think>` at the beginning of the content.
  package var reasoning: String? {
    Self.reasoningFields.lazy.compactMap { extra[$0]?.string }.first ?? thinking?.reasoning
  }

  /// Whether an answer to be continued stops within its reasoning, which begins its content.
  package var opensReasoning: Bool {
    role == .assistant && !content.contains("</think>")
      && content.drop(while: \.isWhitespace).hasPrefix("<think>")
  }

  /// The message without its reasoning.
  package func withoutReasoning() -> ChatMessage {
    guard role == .assistant else { return self }
    var message = ChatMessage(role: role, content: thinking?.answer ?? content, isCut: isCut)
    (message.extra, message.hasNoContent) = (extra, hasNoContent)
    for field in Self.reasoningFields { message.extra[field] = nil }
    return message
  }

  /// The names that servers and data sets give to reasoning.
  package static let reasoningFields = ["reasoning_content", "reasoning", "thinking"]

  /// The two parts of a content that begins with `<think>`.
  private var thinking: (reasoning: String, answer: String)? {
    guard let open = content.range(of: "<think>"), let close = content.range(of: "</think>"),
      open.upperBound <= close.lowerBound, content[..<open.lowerBound].allSatisfy(\.isWhitespace)
    else { return nil }
    func trimmed(_ text: Substring) -> String {
      String(text.drop(while: \.isNewline).reversed().drop(while: \.isNewline).reversed())
    }
    return (
      trimmed(content[open.upperBound..<close.lowerBound]),
      String(content[close.upperBound...].drop(while: \.isNewline))
    )
  }
}
