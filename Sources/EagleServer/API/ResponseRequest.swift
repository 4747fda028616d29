import EagleCore
import EagleText

/// The body of a request to `/v1/responses`: a chat request with other field names.
///
/// Responses are not stored: no request can continue one by its id, and the input must be the whole conversation.
package struct ResponseRequest: Equatable {
  package let chat: ChatRequest
  /// Fields that the response repeats.
  package let echo: JSON.Object

  /// - Throws: `APIError` that names the invalid field
  package init(_ fields: RequestFields, _ rules: RequestRules, makeSeed: () -> UInt64) throws {
    var fields = fields
    try Self.refuseStored(&fields)
    var echo = Self.echo(&fields)
    let messages = try Self.messages(&fields)
    try ToolSettings.checkEnd(of: messages, input: "input")
    let limit = try fields.integer("max_output_tokens", 1...(.max))
    var settings = try GenerationSettings(&fields, rules, makeSeed: makeSeed)
    settings.maxTokens = limit ?? settings.maxTokens
    let tools = try ToolSettings(&fields, form: .flat)
    try Self.readText(&fields, &settings)
    let options = try Self.templateOptions(&fields, &settings)
    Self.ignoreHarmless(&fields)
    let includesReasoning = try fields.bool("include_reasoning") ?? true
    try settings.finish(fields, rules)
    settings.mayBeRecorded = echo["store"] != false
    // Clients send `store: true`, which is OpenAI's default, so it does not reject the request.
    if echo["store"] == true { settings.ignored.append("store") }
    echo["store"] = false
    echo["temperature"] = echo["temperature"] ?? .number("\(settings.sampling.temperature)")
    echo["top_p"] = echo["top_p"] ?? .number("\(settings.sampling.topP)")
    self.echo = echo
    chat = ChatRequest(
      messages: messages, settings: settings, templateOptions: options, tools: tools,
      includesReasoning: includesReasoning)
  }

  private static func refuseStored(_ fields: inout RequestFields) throws {
    for name in ["previous_response_id", "conversation", "prompt"] where fields.take(name) != nil {
      throw APIError.invalid(
        "\(name) is not supported: nothing is stored, send the whole conversation as input", param: name,
        code: "unsupported_value")
    }
    try fields.require("background") { $0 == false }
  }

  /// The fields of the response that repeat the request, with the API's defaults. Other functions read their values.
  private static func echo(_ fields: inout RequestFields) -> JSON.Object {
    let defaults: [(String, JSON?)] = [
      ("instructions", .null), ("max_output_tokens", .null), ("metadata", [:]), ("parallel_tool_calls", true),
      ("temperature", nil), ("tool_choice", "auto"), ("tools", []), ("top_p", nil), ("user", .null), ("store", nil),
    ]
    return JSON.Object(
      defaults.compactMap { name, standard in (fields.take(name) ?? standard).map { (name, $0) } })
  }

  private static func messages(_ fields: inout RequestFields) throws -> [ChatMessage] {
    let instructions = try fields.string("instructions").map { ChatMessage(role: .system, content: $0) }
    let start = instructions.map { [$0] } ?? []
    switch fields.take("input") {
    case .string(let text): return start + [ChatMessage(role: .user, content: text)]
    case .array(let items) where !items.isEmpty: return start + (try ResponseInput.messages(items))
    case nil: throw APIError.invalid("input is missing", param: "input")
    default: throw APIError.invalid("input must be a string, or a list with at least one item", param: "input")
    }
  }

  /// `text`: the output format, and a verbosity that has no effect here.
  private static func readText(_ fields: inout RequestFields, _ settings: inout GenerationSettings) throws {
    guard var text = try fields.object("text") else { return }
    if let format = text.take("format"), format.object?["type"] != "text" {
      let type = format.object?["type"]?.string ?? format.kind
      throw APIError.invalid(
        "text.format must be {\"type\": \"text\"}, not \(type.prefix(40)): constrained decoding is not supported",
        param: "text.format", code: "unsupported_value")
    }
    settings.ignored += text.unread
  }

  /// `reasoning.effort` is the variable `reasoning_effort` of the chat template.
  private static func templateOptions(
    _ fields: inout RequestFields, _ settings: inout GenerationSettings
  ) throws -> JSON.Object {
    var options = try ChatRequest.readTemplateOptions(&fields)
    guard var reasoning = try fields.object("reasoning") else { return options }
    if let effort = try reasoning.string("effort") { options["reasoning_effort"] = .string(effort) }
    settings.ignored += reasoning.unread
    return options
  }

  /// Ignores fields whose values have no effect here; with other values they are unknown fields.
  private static func ignoreHarmless(_ fields: inout RequestFields) {
    fields.ignore("truncation") { $0 == "disabled" }
    fields.ignore("include") { $0.isEmpty }
    fields.ignore("top_logprobs") { $0 == 0 }
    // It limits the calls of tools that the server itself runs; this server runs none.
    fields.ignore("max_tool_calls")
  }
}
