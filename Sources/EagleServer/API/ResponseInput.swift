import EagleCore
import EagleText

/// The items of a Responses API `input` as messages of a chat: the reasoning, the text and the calls of an answer are
/// items of their own there, and one message here.
struct ResponseInput {
  /// The answer that the next items may belong to, as fields of a chat message.
  private struct Turn {
    var fields = JSON.Object([("role", "assistant")])
    /// Its first item, for errors.
    let path: String
  }

  private var messages: [ChatMessage] = []
  private var turn: Turn?

  /// - Throws: `APIError` that names the item at fault
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
    // Text behind a call belongs to the call's answer: the result comes behind both.
    let continuesCalls = turn?.fields["tool_calls"] != nil
    if !continuesCalls { try openTurn(without: ["content"], path: path) }
    let joined = Self.joined(turn?.fields["content"], content)
    turn?.fields["content"] = joined
  }

  /// The contents of two messages of one answer as one.
  private static func joined(_ first: JSON?, _ second: JSON) -> JSON {
    guard let first, !first.isNull else { return second }
    if second.isNull { return first }
    func parts(_ content: JSON) -> [JSON] { content.array ?? [["type": "text", "text": content]] }
    return .array(parts(first) + parts(second))
  }

  private mutating func addReasoning(_ fields: JSON.Object, path: String) throws {
    try openTurn(without: ["content", "tool_calls", "reasoning_content"], path: path)
    let text = try Self.text(fields["content"], path: "\(path).content")
    let summary = try Self.text(fields["summary"], path: "\(path).summary")
    // Reasoning that only its own server can read is no text.
    if !(text + summary).isEmpty { turn?.fields["reasoning_content"] = .string(text.isEmpty ? summary : text) }
  }

  private mutating func addCall(_ fields: JSON.Object, path: String) throws {
    guard let id = fields["call_id"]?.string, let name = fields["name"]?.string, let arguments = fields["arguments"]
    else {
      throw APIError.invalid("\(path) must have call_id, name and arguments", param: path)
    }
    try openTurn(without: [], path: path)
    let call: JSON = [
      "id": .string(id), "type": "function", "function": ["name": .string(name), "arguments": arguments],
    ]
    let before = turn?.fields["tool_calls"]?.array ?? []
    turn?.fields["tool_calls"] = .array(before + [call])
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

  /// The texts of parts, a line each. Null is no text.
  private static func text(_ value: JSON?, path: String) throws -> String {
    guard let value, !value.isNull else { return "" }
    guard let parts = value.array?.map({ $0.object?["text"]?.string }), !parts.contains(nil) else {
      throw APIError.invalid("\(path) must be a list of parts with a text", param: path)
    }
    return parts.compactMap { $0 }.joined(separator: "\n")
  }

  /// Begins an answer, unless one is open that has none of these fields.
  private mutating func openTurn(without fields: [String], path: String) throws {
    if let turn, fields.contains(where: { turn.fields[$0] != nil }) { try closeTurn() }
    if turn == nil { turn = Turn(path: path) }
  }

  private mutating func closeTurn() throws {
    guard let turn else { return }
    messages.append(try ChatRequest.message(.object(turn.fields), path: turn.path))
    self.turn = nil
  }
}
