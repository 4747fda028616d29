import EagleCore
import EagleText

/// The body of a request to `/v1/chat/completions`.
package struct ChatRequest: Equatable {
  package let messages: [ChatMessage]
  package let settings: GenerationSettings

  package init(_ fields: RequestFields, served: String, draw: () -> UInt64) throws {
    var fields = fields
    guard let value = fields.take("messages") else {
      throw APIError.invalid("messages is missing", param: "messages")
    }
    guard let list = value.array, !list.isEmpty else {
      throw APIError.invalid("messages must be a list with at least one message", param: "messages")
    }
    messages = try list.enumerated().map { try Self.message($1, place: "messages[\($0)]") }
    settings = try GenerationSettings(&fields, served: served, draw: draw)
    try Self.refuseTools(&fields)
    try fields.finish()
  }

  private static func message(_ value: JSON, place: String) throws -> ChatMessage {
    guard let values = value.object else {
      throw APIError.invalid("\(place) must be an object, not \(value.kind)", param: place)
    }
    var fields = RequestFields(values, place: "\(place).")
    let name = try fields.string("role") ?? ""
    guard let role = ChatMessage.Role(rawValue: name == "developer" ? "system" : name) else {
      throw APIError.invalid(
        "\(place).role must be system, developer, user or assistant, not '\(name)'", param: "\(place).role")
    }
    let content = try content(fields.take("content"), place: "\(place).content")
    fields.ignore("name")
    for other in ["tool_calls", "annotations"] { try fields.require(other) { $0.isEmpty } }
    try fields.finish()
    return ChatMessage(role: role, content: content)
  }

  /// Text, or a list of parts of text.
  private static func content(_ value: JSON?, place: String) throws -> String {
    switch value {
    case .string(let text): return text
    case .array(let parts):
      return try parts.enumerated().map { try part($1, place: "\(place)[\($0)]") }.joined(separator: "\n")
    default: throw APIError.invalid("\(place) must be a string or a list of parts of text", param: place)
    }
  }

  private static func part(_ value: JSON, place: String) throws -> String {
    guard let values = value.object, values["type"] == "text", let text = values["text"]?.string else {
      throw APIError.invalid(
        "\(place) must be {\"type\": \"text\", \"text\": ...}: only text is understood", param: place)
    }
    return text
  }

  private static func refuseTools(_ fields: inout RequestFields) throws {
    for name in ["tools", "functions"] { try fields.require(name) { $0.isEmpty } }
    for name in ["tool_choice", "function_call"] {
      try fields.require(name) { $0 == "none" || $0 == "auto" }
    }
    fields.ignore("parallel_tool_calls")
    try fields.require("response_format") { $0 == ["type": "text"] }
    try fields.require("modalities") { $0 == ["text"] }
  }
}
