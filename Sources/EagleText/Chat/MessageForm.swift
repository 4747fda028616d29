import EagleCore
import EagleJinja

/// The form in which a chat template takes messages where templates differ. It is found once for each template.
package struct MessageForm: Sendable, Equatable {
  /// The arguments of tool calls.
  package enum Arguments: Sendable, Equatable {
    /// An object, which templates write with `tojson` or field by field.
    case object
    /// A JSON text, which templates write as it is.
    case text
  }

  package private(set) var arguments = Arguments.object
  /// Whether the role `developer` is one of its own. Other templates get `system`, which it took the place of.
  package private(set) var knowsDeveloper = false

  /// The form of most templates.
  package init() {}

  /// The form that a template takes, by what it does with a call.
  ///
  /// - Parameters:
  ///   - texts: the source of all templates of the model
  ///   - render: renders messages with a tool
  init(texts: [String], render: ([JSON], JSON) throws -> String) {
    knowsDeveloper = texts.contains { $0.contains("developer") }
    func rendered(_ arguments: JSON) -> String? { try? render(Self.probe(arguments), Self.tool) }
    let spelled = #"{"eagle": "train"}"#
    // Where an object fails, as an operand of `+`, or comes out as Python prints it, a text is meant.
    if rendered(["eagle": "train"])?.contains("{'eagle'") ?? true, rendered(.string(spelled))?.contains(spelled) == true
    {
      arguments = .text
    }
  }

  private static func probe(_ arguments: JSON) -> [JSON] {
    let function: JSON = ["name": "probe", "arguments": arguments]
    let call: JSON = ["id": "call00001", "type": "function", "function": function]
    return [
      ["role": "user", "content": "question"], ["role": "assistant", "content": "", "tool_calls": [call]],
      ["role": "tool", "tool_call_id": "call00001", "name": "probe", "content": "result"],
    ]
  }

  private static let tool: JSON = [
    "type": "function",
    "function": [
      "name": "probe", "description": "A probe.",
      "parameters": ["type": "object", "properties": ["eagle": ["type": "string"]], "required": ["eagle"]],
    ],
  ]

  /// The object that the template sees: role, content, and the further fields.
  package func value(_ message: ChatMessage) -> JSON {
    let role = message.role == .developer && !knowsDeveloper ? .system : message.role
    let content: JSON = message.hasNoContent ? .null : .string(message.content)
    var object = JSON.Object([("role", .string(role.rawValue)), ("content", content)])
    for (key, value) in message.extra.entries { object[key] = key == "tool_calls" ? calls(value) : value }
    return .object(object)
  }

  private func calls(_ value: JSON) -> JSON { value.array.map { .array($0.map(call)) } ?? value }

  private func call(_ value: JSON) -> JSON {
    guard var object = value.object else { return value }
    if let function = object["function"] { object["function"] = call(function) }
    if object["name"] != nil { object["arguments"] = argumentsValue(object["arguments"] ?? "") }
    return .object(object)
  }

  /// Arguments come as an object, or as a text that spells one, as OpenAI's API has them; an empty text is none.
  private func argumentsValue(_ value: JSON) -> JSON {
    switch (value, arguments) {
    case ("", .object): return .object(JSON.Object())
    case ("", .text): return "{}"
    case (.string(let text), .object):
      let read = try? JSON.read(Array(text.utf8))
      return read?.object == nil ? value : read ?? value
    case (.object, .text): return .string(value.text(.spaced))
    default: return value
    }
  }
}
