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
  /// Whether the role `developer` is one of its own. Other templates get `system`, which `developer` replaces.
  package private(set) var knowsDeveloper = false
  /// Whether ids of calls must have nine letters or digits, as Mistral's templates demand.
  package private(set) var hasShortIDs = false

  /// The form of most templates.
  package init() {}

  /// The form that a template takes, by what it does with a call.
  ///
  /// - Parameters:
  ///   - texts: the source of all templates of the model
  ///   - render: renders messages with a tool
  init(texts: [String], render: ([JSON], JSON) throws -> String) {
    knowsDeveloper = texts.contains { $0.contains("developer") }
    func rendered(_ arguments: JSON, id: String = "call00001") -> String? {
      try? render(Self.probe(arguments, id: id), Self.tool)
    }
    let spelled = #"{"eagle": "train"}"#
    // Where an object fails, as an operand of `+`, or comes out as Python prints it, a text is meant.
    if rendered(["eagle": "train"])?.contains("{'eagle'") ?? true, rendered(.string(spelled))?.contains(spelled) == true
    {
      arguments = .text
    }
    let probed: JSON = arguments == .text ? .string(spelled) : ["eagle": "train"]
    hasShortIDs = rendered(probed) != nil && rendered(probed, id: "call_0123456789") == nil
  }

  private static func probe(_ arguments: JSON, id: String) -> [JSON] {
    let function: JSON = ["name": "probe", "arguments": arguments]
    let call: JSON = ["id": .string(id), "type": "function", "function": function]
    return [
      ["role": "user", "content": "question"], ["role": "assistant", "content": "", "tool_calls": [call]],
      ["role": "tool", "tool_call_id": .string(id), "name": "probe", "content": "result"],
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
    for (key, value) in message.extra.entries {
      switch key {
      case "tool_calls": object[key] = calls(value)
      case "tool_call_id": object[key] = id(value)
      default: object[key] = value
      }
    }
    return .object(object)
  }

  private func calls(_ value: JSON) -> JSON { value.array.map { .array($0.map(call)) } ?? value }

  private func call(_ value: JSON) -> JSON {
    guard var object = value.object else { return value }
    if let id = object["id"] { object["id"] = self.id(id) }
    if let function = object["function"] { object["function"] = call(function) }
    if object["name"] != nil { object["arguments"] = argumentsValue(object["arguments"] ?? "") }
    return .object(object)
  }

  /// The id of a call as the template takes it. A replaced id follows from the id alone, so that a result still names
  /// its call.
  private func id(_ value: JSON) -> JSON {
    guard hasShortIDs, let text = value.string, !Self.isShort(text) else { return value }
    let digits = String(FNV1a.hash(text) % Self.shortIDs, radix: 36)
    return .string(String(repeating: "0", count: 9 - digits.count) + digits)
  }

  /// 36^9, the number of texts of nine digits or lower-case letters.
  private static let shortIDs: UInt64 = 101_559_956_668_416

  private static func isShort(_ id: String) -> Bool {
    id.utf8.count == 9 && id.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber) }
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
