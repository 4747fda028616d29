import EagleCore
import EagleText

/// Converts the items of a Responses API `input` to chat messages. The reasoning, the text and the calls of an
/// assistant turn are separate items there, and one message here.
struct ResponseInput {
  /// The assistant turn that the next items may belong to.
  private struct Turn {
    /// The path of its first item, for errors.
    let path: String
    var contents: [JSON] = []
    var reasoning: String?
    var calls: [JSON] = []

    /// The fields of a chat message.
    var fields: JSON.Object {
      var fields = JSON.Object([("role", "assistant")])
      if !contents.isEmpty { fields["content"] = content }
      if let reasoning { fields["reasoning_content"] = .string(reasoning) }
      if !calls.isEmpty { fields["tool_calls"] = .array(calls) }
      return fields
    }

    private var content: JSON {
      let all = contents.filter { !$0.isNull }
      if all.count < 2 { return all.first ?? .null }
      return .array(all.flatMap { content in content.array ?? [["type": "text", "text": content]] })
    }
  }

  private var messages: [ChatMessage] = []
  private var turn: Turn?

  /// - Throws: `APIError` that names the invalid item
  static func messages(_ items: [JSON]) throws -> [ChatMessage] {
    var input = ResponseInput()
    for (index, item) in items.enumerated() { try input.add(item, path: "input[\(index)]") }
    try input.closeTurn()
    return input.messages
  }

  private mutating func add(_ item: JSON, path: String) throws {
    guard let fields = item.object else {
      throw APIError.invalid("\(path) must be an object, not \(item.kind)", param: path)
    }
    let type = fields["type"]?.string ?? (fields["role"] == nil ? "" : "message")
    switch type {
    case "message": try addMessage(fields, path: path)
    case "reasoning": try addReasoning(fields, path: path)
    case "function_call": try addCall(fields, path: path)
    case "function_call_output": try addResult(fields, path: path)
    case "item_reference":
      throw APIError.invalid("\(path) refers to an item, and nothing is stored: send it whole", param: path)
    default:
      throw APIError.invalid(
        "\(path).type must be message, reasoning, function_call or function_call_output, not '\(type.prefix(40))'",
        param: "\(path).type", code: "unsupported_value")
    }
  }

  private mutating func addMessage(_ fields: JSON.Object, path: String) throws {
    let content = fields["content"] ?? .null
    guard fields["role"] == "assistant" else {
      try closeTurn()
      messages.append(
        try ChatRequest.message(["role": fields["role"] ?? .null, "content": content], path: path))
      return
    }
    // Text after a call belongs to the message of the call, because the result of the call follows both.
    if turn?.calls.isEmpty ?? true { try openTurn(unless: { !$0.contents.isEmpty }, path: path) }
    turn?.contents.append(content)
  }

  private mutating func addReasoning(_ fields: JSON.Object, path: String) throws {
    try openTurn(unless: { !$0.contents.isEmpty || !$0.calls.isEmpty || $0.reasoning != nil }, path: path)
    let text = try Self.text(fields["content"], path: "\(path).content")
    let summary = try Self.text(fields["summary"], path: "\(path).summary")
    // Reasoning that only its own server can decrypt has no text.
    if !(text + summary).isEmpty { turn?.reasoning = text.isEmpty ? summary : text }
  }

  private mutating func addCall(_ fields: JSON.Object, path: String) throws {
    guard let id = fields["call_id"]?.string, let name = fields["name"]?.string, let arguments = fields["arguments"]
    else {
      throw APIError.invalid("\(path) must have call_id, name and arguments", param: path)
    }
    try openTurn(unless: { _ in false }, path: path)
    let call: JSON = [
      "id": .string(id), "type": "function", "function": ["name": .string(name), "arguments": arguments],
    ]
    turn?.calls.append(call)
  }

  private mutating func addResult(_ fields: JSON.Object, path: String) throws {
    try closeTurn()
    guard let id = fields["call_id"], id.string != nil else {
      throw APIError.invalid("\(path).call_id must be the id of the call", param: "\(path).call_id")
    }
    guard let output = fields["output"], output.string != nil || output.array != nil else {
      throw APIError.invalid("\(path).output must be a string or a list of parts of text", param: "\(path).output")
    }
    messages.append(try ChatRequest.message(["role": "tool", "tool_call_id": id, "content": output], path: path))
  }

  /// The texts of the parts, joined with newlines. Null is empty text.
  private static func text(_ value: JSON?, path: String) throws -> String {
    guard let value, !value.isNull else { return "" }
    guard let parts = value.array?.map({ $0.object?["text"]?.string }), !parts.contains(nil) else {
      throw APIError.invalid("\(path) must be a list of parts with a text", param: path)
    }
    return parts.compactMap { $0 }.joined(separator: "\n")
  }

  /// Begins an assistant turn, unless the next part belongs to the open one.
  private mutating func openTurn(unless isOver: (Turn) -> Bool, path: String) throws {
    if let turn, isOver(turn) { try closeTurn() }
    if turn == nil { turn = Turn(path: path) }
  }

  private mutating func closeTurn() throws {
    guard let turn else { return }
    messages.append(try ChatRequest.message(.object(turn.fields), path: turn.path))
    self.turn = nil
  }
}
