import EagleCore
import Foundation

/// The tools of a chat request: `tools`, `tool_choice` and `parallel_tool_calls`.
///
/// `tool_choice` none hides the tools: the model sees none, and nothing in its answer is read as a call. A call that
/// must be made (`required`, or a named function) is refused, since nothing here can make a model call a tool.
package struct ToolSettings: Sendable, Equatable {
  /// The definitions as the request gave them, for the chat template. Empty where the model is to see none.
  package private(set) var definitions: [JSON] = []
  /// The names that a call may have.
  package private(set) var names: Set<String> = []
  /// Whether an answer may hold several calls.
  package private(set) var isParallel = true

  package static let maxTools = 128

  /// - Throws: `APIError` that names the field at fault
  package init(_ fields: inout RequestFields) throws {
    for name in ["functions", "function_call"] {
      try fields.require(name) { $0.isEmpty || $0 == "none" || $0 == "auto" }
    }
    isParallel = try fields.bool("parallel_tool_calls") ?? true
    try readDefinitions(fields.take("tools"))
    try readChoice(fields.take("tool_choice"))
  }

  private mutating func readDefinitions(_ value: JSON?) throws {
    guard let value else { return }
    guard let list = value.array else {
      throw APIError.invalid("tools must be a list, not \(value.kind)", param: "tools")
    }
    guard list.count <= Self.maxTools else {
      throw APIError.invalid("tools has \(list.count) elements, at most \(Self.maxTools) are taken", param: "tools")
    }
    for (index, tool) in list.enumerated() {
      let name = try Self.name(of: tool, path: "tools[\(index)]")
      guard names.insert(name).inserted else {
        throw APIError.invalid("tools[\(index)]: '\(name)' is defined twice", param: "tools")
      }
    }
    definitions = list
  }

  /// The name of `{"type": "function", "function": {"name": ..., "parameters": {...}}}`.
  private static func name(of tool: JSON, path: String) throws -> String {
    guard tool.object?["type"] == "function", let function = tool.object?["function"]?.object else {
      throw APIError.invalid(
        "\(path) must be {\"type\": \"function\", \"function\": {...}}: only functions are understood", param: path)
    }
    guard let name = function["name"]?.string, isName(name) else {
      throw APIError.invalid(
        "\(path).function.name must be 1 to 64 of the characters a-z, A-Z, 0-9, _, - and .",
        param: "\(path).function.name")
    }
    if let parameters = function["parameters"], !parameters.isNull, parameters.object == nil {
      throw APIError.invalid(
        "\(path).function.parameters must be an object, not \(parameters.kind)", param: "\(path).function.parameters")
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
  /// The fields of a message as chat templates read them: the arguments of its calls are objects, which clients send as
  /// strings of JSON.
  ///
  /// - Parameters:
  ///   - fields: the fields of the message besides role and content
  ///   - path: the message in errors
  /// - Throws: `APIError` for calls and ids of another shape
  package static func templateFields(_ fields: JSON.Object, role: String, path: String) throws -> JSON.Object {
    if let call = fields["function_call"], !call.isNull {
      throw APIError.invalid(
        "\(path).function_call is not supported, send tool_calls", param: "\(path).function_call",
        code: "unsupported_value")
    }
    if role == "tool", fields["tool_call_id"]?.string == nil {
      throw APIError.invalid(
        "\(path).tool_call_id must be the id of the call that this message answers", param: "\(path).tool_call_id")
    }
    guard let calls = fields["tool_calls"], !calls.isNull else { return fields }
    guard role == "assistant", let list = calls.array else {
      throw APIError.invalid(
        "\(path).tool_calls must be a list in an assistant's message", param: "\(path).tool_calls")
    }
    var fields = fields
    fields["tool_calls"] = .array(try list.enumerated().map { try call($1, path: "\(path).tool_calls[\($0)]") })
    return fields
  }

  private static func call(_ value: JSON, path: String) throws -> JSON {
    guard var call = value.object, var function = call["function"]?.object, function["name"]?.string != nil else {
      throw APIError.invalid(
        "\(path) must be {\"id\": ..., \"type\": \"function\", \"function\": {\"name\": ..., \"arguments\": ...}}",
        param: path)
    }
    let arguments = function["arguments"] ?? ""
    guard let object = arguments == "" ? JSON.Object() : ToolCall.object(arguments) else {
      throw APIError.invalid(
        "\(path).function.arguments must be a JSON object as a string", param: "\(path).function.arguments")
    }
    function["arguments"] = .object(object)
    call["function"] = .object(function)
    return .object(call)
  }
}
