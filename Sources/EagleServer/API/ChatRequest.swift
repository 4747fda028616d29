import EagleCore
import EagleText

/// The body of a request to `/v1/chat/completions`.
package struct ChatRequest: Equatable {
  package let messages: [ChatMessage]
  package let settings: GenerationSettings
  /// Variables of the chat template by name, `enable_thinking` for one.
  package let templateOptions: JSON.Object
  package let tools: ToolSettings
  /// Whether the answer's reasoning is sent.
  package let includesReasoning: Bool

  package init(_ fields: RequestFields, _ rules: RequestRules, makeSeed: () -> UInt64) throws {
    var fields = fields
    guard let value = fields.take("messages") else {
      throw APIError.invalid("messages is missing", param: "messages")
    }
    guard let list = value.array, !list.isEmpty else {
      throw APIError.invalid("messages must be a list with at least one message", param: "messages")
    }
    messages = try list.enumerated().map { try Self.message($1, path: "messages[\($0)]") }
    try ToolSettings.checkEnd(of: messages, input: "messages")
    var settings = try GenerationSettings(&fields, rules, makeSeed: makeSeed)
    try Self.readLogprobs(&fields, &settings)
    tools = try ToolSettings(&fields)
    try fields.require("modalities") { $0 == ["text"] }
    includesReasoning = try fields.bool("include_reasoning") ?? true
    templateOptions = try Self.readTemplateOptions(&fields)
    try settings.finish(fields, rules)
    self.settings = settings
  }

  init(
    messages: [ChatMessage], settings: GenerationSettings, templateOptions: JSON.Object, tools: ToolSettings,
    includesReasoning: Bool
  ) {
    (self.messages, self.settings, self.templateOptions) = (messages, settings, templateOptions)
    (self.tools, self.includesReasoning) = (tools, includesReasoning)
  }

  /// A message with all of its keys. Keys that no template reads are accepted, because clients send back the messages
  /// of other servers unchanged.
  static func message(_ value: JSON, path: String) throws -> ChatMessage {
    guard var keys = value.object else {
      throw APIError.invalid("\(path) must be an object, not \(value.kind)", param: path)
    }
    let role = try role(keys["role"], path: "\(path).role")
    let content = try content(keys["content"], role, path: "\(path).content")
    let isNull = keys["content"]?.isNull ?? true
    (keys["role"], keys["content"]) = (nil, nil)
    var message = ChatMessage(role: role, content: content)
    try ToolSettings.check(keys, role: role.rawValue, path: path)
    message.extra = keys
    message.hasNoContent = isNull && message.extra["tool_calls"]?.isEmpty == false
    return message
  }

  private static func role(_ value: JSON?, path: String) throws -> ChatMessage.Role {
    let name = value?.string ?? ""
    guard name != "function", let role = ChatMessage.Role(rawValue: name) else {
      throw APIError.invalid(
        "\(path) must be system, developer, user, assistant or tool, not '\(name)'", param: path)
    }
    return role
  }

  /// Text, or a list of text parts. Null is empty text; an assistant message may have no content.
  private static func content(_ value: JSON?, _ role: ChatMessage.Role, path: String) throws -> String {
    switch value {
    case .string(let text): return text
    case .null: return ""
    case nil where role == .assistant: return ""
    case .array(let parts):
      return try parts.enumerated().map { try part($1, path: "\(path)[\($0)]") }.joined(separator: "\n")
    default: throw APIError.invalid("\(path) must be a string or a list of parts of text", param: path)
    }
  }

  private static let textParts: [JSON] = ["text", "input_text", "output_text"]

  private static func part(_ value: JSON, path: String) throws -> String {
    if let text = value.string { return text }
    guard let part = value.object, let type = part["type"], textParts.contains(type), let text = part["text"]?.string
    else {
      throw APIError.invalid(
        "\(path) must be {\"type\": \"text\", \"text\": ...}: only text is understood", param: path)
    }
    return text
  }

  private static func readLogprobs(_ fields: inout RequestFields, _ settings: inout GenerationSettings) throws {
    let (isWanted, count) = (try fields.bool("logprobs") ?? false, try fields.integer("top_logprobs", 0...20) ?? 0)
    guard isWanted || count == 0 else {
      throw APIError.invalid("top_logprobs needs logprobs: true", param: "top_logprobs")
    }
    settings.sampling.logprobs = isWanted ? count : nil
  }

  /// Variables of the chat template: `chat_template_kwargs`, and two that clients write at the top level of the body.
  static func readTemplateOptions(_ fields: inout RequestFields) throws -> JSON.Object {
    var options = JSON.Object()
    if let value = fields.take("chat_template_kwargs") {
      guard let object = value.object else {
        throw APIError.invalid(
          "chat_template_kwargs must be an object, not \(value.kind)", param: "chat_template_kwargs")
      }
      options = object
    }
    for name in ["enable_thinking", "reasoning_effort"] {
      if let value = fields.take(name) { options[name] = value }
    }
    return options
  }
}
