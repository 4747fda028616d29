import EagleCore
import Foundation

/// One message of a conversation. A chat template sees `templateValue`.
public struct ChatMessage: Sendable, Equatable {
  public enum Role: String, Sendable, Equatable, CaseIterable {
    case system, user, assistant, developer, tool, function
  }

  public let role: Role
  /// The text; empty where there is none.
  public let content: String
  /// Whether an answer was broken off, so that its end is not the author's.
  public let isCut: Bool
  /// Whether the message came with `content: null`, as answers that only call tools do.
  package var hasNoContent = false
  /// Further fields of the message, in its order: `name`, `tool_calls`, `tool_call_id`, `reasoning_content`.
  package var extra = JSON.Object()

  public init(role: Role, content: String, isCut: Bool = false) {
    self.role = role
    self.content = content
    self.isCut = isCut
  }

  /// The object that templates see: role, content, and the further fields. Arguments of tool calls that are a JSON
  /// text, as OpenAI's API has them, become the object that they spell, which is what templates take.
  package var templateValue: JSON {
    var object = JSON.Object([("role", .string(role.rawValue)), ("content", hasNoContent ? .null : .string(content))])
    for (key, value) in extra.entries { object[key] = key == "tool_calls" ? Self.withParsedArguments(value) : value }
    return .object(object)
  }

  private static func withParsedArguments(_ calls: JSON) -> JSON {
    guard let calls = calls.array else { return calls }
    return .array(calls.map(withParsedArguments(ofCall:)))
  }

  private static func withParsedArguments(ofCall call: JSON) -> JSON {
    guard var object = call.object else { return call }
    if let function = object["function"] { object["function"] = withParsedArguments(ofCall: function) }
    if let text = object["arguments"]?.string, let value = try? JSON.read(Array(text.utf8)), value.object != nil {
      object["arguments"] = value
    }
    return .object(object)
  }

  /// The reasoning before an answer, from a field of its own or from `<think>` at the beginning of the content.
  package var reasoning: String? {
    Self.reasoningFields.lazy.compactMap { extra[$0]?.string }.first ?? thinking?.reasoning
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
  private static let reasoningFields = ["reasoning_content", "reasoning", "thinking"]

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
