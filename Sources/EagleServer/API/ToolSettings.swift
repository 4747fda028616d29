import EagleCore
import EagleText
import Foundation

/// The tools of a chat request: `tools`, `tool_choice` and `parallel_tool_calls`.
///
/// `tool_choice: none` hides the tools: the template gets none, and no text of the answer is parsed as a call. A forced
/// call (`required`, or a named function) is rejected, because this server has no constrained decoding.
package struct ToolSettings: Sendable, Equatable {
  /// The definitions as the request gave them, for the chat template. Empty if the model must not see tools.
  package private(set) var definitions: [JSON] = []
  /// The names that a call may have.
  package private(set) var names: Set<String> = []
  /// Whether an answer may hold several calls.
  package private(set) var isParallel = true

  package static let maxTools = 128

  /// Where a definition stores the fields of its function.
  package enum Form: Sendable {
    /// In its `function`, as in chats.
    case nested
    /// At the same level as its `type`, as in the Responses API.
    case flat
  }

  /// - Throws: `APIError` that names the invalid field
  package init(_ fields: inout RequestFields, form: Form = .nested) throws {
    for name in ["functions", "function_call"] {
      try fields.require(name) { $0.isEmpty || $0 == "none" || $0 == "auto" }
    }
    isParallel = try fields.bool("parallel_tool_calls") ?? true
    try readDefinitions(fields.take("tools"), form)
    try readChoice(fields.take("tool_choice"))
  }

  private mutating func readDefinitions(_ value: JSON?, _ form: Form) throws {
    guard let value else { return }
    guard let list = value.array else {
      throw APIError.invalid("tools must be a list, not \(value.kind)", param: "tools")
    }
    guard list.count <= Self.maxTools else {
      throw APIError.invalid("tools has \(list.count) elements, at most \(Self.maxTools) are taken", param: "tools")
    }
    for (index, tool) in list.enumerated() {
      let name = try Self.name(of: tool, form, path: "tools[\(index)]")
      guard names.insert(name).inserted else {
        throw APIError.invalid("tools[\(index)]: '\(name)' is defined twice", param: "tools")
      }
    }
    definitions = form == .flat ? list.map(Self.nested) : list
  }

  /// Converts a flat definition to the nested form that chat templates read.
  private static func nested(_ tool: JSON) -> JSON {
    guard var function = tool.object else { return tool }
    function["type"] = nil
    return ["type": "function", "function": .object(function)]
  }

  /// The name of `{"type": "function", "function": {"name": ..., "parameters": {...}}}`, or of the flat form.
  private static func name(of tool: JSON, _ form: Form, path: String) throws -> String {
    let holder = form == .flat ? tool : tool.object?["function"] ?? .null
    guard tool.object?["type"] == "function", let function = holder.object else {
      let shape = form == .flat ? "\"name\": ..." : "\"function\": {...}"
      throw APIError.invalid(
        "\(path) must be {\"type\": \"function\", \(shape)}: only functions are understood", param: path)
    }
    let place = form == .flat ? path : "\(path).function"
    guard let name = function["name"]?.string, isName(name) else {
      throw APIError.invalid(
        "\(place).name must be 1 to 64 of the characters a-z, A-Z, 0-9, _, - and .", param: "\(place).name")
    }
    if let parameters = function["parameters"], !parameters.isNull, parameters.object == nil {
      throw APIError.invalid(
        "\(place).parameters must be an object, not \(parameters.kind)", param: "\(place).parameters")
    }
    return name
  }

  private static func isName(_ name: String) -> Bool {
    (1...64).contains(name.utf8.count)
      && name.utf8.allSatisfy {
        switch $0 {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
          UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "."):
          true
        default: false
        }
      }
  }

  private mutating func readChoice(_ choice: JSON?) throws {
    switch choice {
    case nil, "auto": break
    case "none": (definitions, names) = ([], [])
    default:
      throw APIError.invalid(
        "tool_choice must be auto or none: a call that must be made is not supported", param: "tool_choice",
        code: "unsupported_value")
    }
  }
}

extension ToolSettings {
  /// Checks the fields of a message that belong to tools: the shape of its calls, and the id that a result answers.
  ///
  /// - Parameters:
  ///   - fields: the fields of the message except role and content
  ///   - path: the message in errors
  /// - Throws: `APIError` for malformed calls and ids
  package static func check(_ fields: JSON.Object, role: String, path: String) throws {
    if let call = fields["function_call"], !call.isNull {
      throw APIError.invalid(
        "\(path).function_call is not supported, send tool_calls", param: "\(path).function_call",
        code: "unsupported_value")
    }
    if role == "tool", fields["tool_call_id"]?.string == nil {
      throw APIError.invalid(
        "\(path).tool_call_id must be the id of the call that this message answers", param: "\(path).tool_call_id")
    }
    guard let calls = fields["tool_calls"], !calls.isNull else { return }
    guard role == "assistant", let list = calls.array else {
      throw APIError.invalid(
        "\(path).tool_calls must be a list in an assistant's message", param: "\(path).tool_calls")
    }
    for (index, call) in list.enumerated() { try check(call: call, path: "\(path).tool_calls[\(index)]") }
  }

  /// Checks that a history does not end with calls, because the model would answer without their results.
  ///
  /// - Parameter input: the field of the messages, for errors
  /// - Throws: `APIError` where the last message calls tools
  static func checkEnd(of messages: [ChatMessage], input: String) throws {
    guard let last = messages.last, last.role == .assistant, last.extra["tool_calls"]?.array?.isEmpty == false else {
      return
    }
    throw APIError.invalid(
      "the last message of \(input) calls tools: send the result of each call behind it", param: input)
  }

  private static func check(call: JSON, path: String) throws {
    guard let function = call.object?["function"]?.object, function["name"]?.string != nil else {
      throw APIError.invalid(
        "\(path) must be {\"id\": ..., \"type\": \"function\", \"function\": {\"name\": ..., \"arguments\": ...}}",
        param: path)
    }
    let arguments = function["arguments"] ?? ""
    guard arguments == "" || ToolCall.object(arguments) != nil else {
      throw APIError.invalid(
        "\(path).function.arguments must be a JSON object as a string", param: "\(path).function.arguments")
    }
  }
}
