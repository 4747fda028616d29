import EagleCore
import Foundation

/// Reads the objects of a data file: conversations, pairs of a question and an answer, and tokenised rows.
///
/// ```
/// {"id", "conversations" | "messages": [{"role" | "from", "content" | "value", …}], "tools"}
/// {"instruction", "input", "output", "system"}                  Alpaca
/// {"prompt", "response" | "completion" | "chosen", "system"}    pairs
/// {"input_ids", "loss_mask"}                                    tokenised
/// ```
struct ConversationRecord {
  let fields: JSON.Object

  /// - Throws: `TextError` for bytes that are no JSON object
  init(_ bytes: Data) throws {
    let value: JSON
    do { value = try JSON.read(bytes) } catch { throw TextError(notJSON: error) }
    guard let fields = value.object else { throw TextError("expected an object, not \(value.kind)") }
    self.fields = fields
  }

  /// What the object holds. One without an id is called `fallbackID`.
  func record(fallbackID: String) throws -> DataRecord {
    let id = try id ?? fallbackID
    if fields.present("input_ids") != nil { return .row(try row(id)) }
    return .conversation(try conversation(id))
  }

  init(_ fields: JSON.Object) { self.fields = fields }

  private var id: String? {
    get throws { try fields["id"].flatMap { try Self.text(ofID: $0) } }
  }

  /// An id as data files have it, a string or a whole number; nil for null.
  static func text(ofID value: JSON) throws -> String? {
    if let text = value.string ?? value.int.map(String.init) { return text }
    guard value.isNull else { throw TextError("the id is neither a string nor a whole number") }
    return nil
  }

  // MARK: conversations

  private func conversation(_ id: String) throws -> Conversation {
    var conversation = Conversation(id: id, messages: try messages() ?? pair())
    conversation.tools = try tools()
    return conversation
  }

  /// The list of messages; nil where there is none.
  func messages() throws -> [ChatMessage]? {
    guard let key = ["conversations", "messages"].first(where: { fields.present($0) != nil }), let value = fields[key]
    else { return nil }
    guard let list = value.array else { throw TextError("\"\(key)\" is \(value.kind), not a list of messages") }
    guard !list.isEmpty else { throw TextError("the list \"\(key)\" is empty") }
    return try list.enumerated().map { try MessageRecord($1, number: $0 + 1).message() }
  }

  /// A question and its answer.
  private func pair() throws -> [ChatMessage] {
    let answers = ["output", "response", "completion", "chosen"]
    guard let question = try text("instruction") ?? text("prompt") else {
      throw TextError(
        "there is none of \"conversations\", \"messages\", \"instruction\", \"prompt\" and \"input_ids\"")
    }
    guard let answer = try answers.lazy.compactMap({ try text($0) }).first else {
      throw TextError("there is a question and none of \(answers.map { "\"\($0)\"" }.joined(separator: ", "))")
    }
    let input = try text("input") ?? ""
    let system = try text("system").map { [ChatMessage(role: .system, content: $0)] } ?? []
    return system + [
      ChatMessage(role: .user, content: input.isEmpty ? question : question + "\n\n" + input),
      ChatMessage(role: .assistant, content: answer),
    ]
  }

  /// The text of a field; nil where it is missing or null.
  private func text(_ key: String) throws -> String? {
    guard let value = fields.present(key) else { return nil }
    guard let text = value.string else { throw TextError("\"\(key)\" is \(value.kind), not a text") }
    return text
  }

  /// Descriptions of tools, as a list or as a JSON text that spells one.
  func tools() throws -> [JSON] {
    guard let value = fields.present("tools"), value != "" else { return [] }
    if let list = value.array { return list }
    guard let text = value.string, let list = (try? JSON.read(Array(text.utf8)))?.array else {
      throw TextError("\"tools\" is neither a list nor a JSON text of one")
    }
    return list
  }

  // MARK: tokenised rows

  private func row(_ id: String) throws -> TokenRow {
    guard let ids = fields["input_ids"]?.int32s, !ids.isEmpty, ids.allSatisfy({ $0 >= 0 }) else {
      throw TextError("\"input_ids\" is no list of token ids")
    }
    guard let mask = fields["loss_mask"]?.array else {
      throw TextError("\"input_ids\" comes without \"loss_mask\", a list of 0 and 1 of the same length")
    }
    guard mask.count == ids.count else {
      throw TextError("\"loss_mask\" has \(mask.count) values and \"input_ids\" \(ids.count)")
    }
    return TokenRow(id: id, ids: ids, lossMask: try mask.map(Self.bit))
  }

  private static func bit(_ value: JSON) throws -> UInt8 {
    switch value {
    case .bool(let flag): return flag ? 1 : 0
    case .number("0"), .number("0.0"): return 0
    case .number("1"), .number("1.0"): return 1
    default: throw TextError("\"loss_mask\" holds \(value.text()), not 0 or 1")
    }
  }
}

extension JSON.Object {
  /// The value of a key; nil where it is missing or null. Tables write null for a column that a row does not have.
  func present(_ key: String) -> JSON? {
    guard let value = self[key], !value.isNull else { return nil }
    return value
  }
}

extension DataRecord {
  /// Reads an object of a data file.
  ///
  /// - Parameter id: the id of an object without one
  /// - Throws: `TextError` for an object of another shape
  package init(_ value: JSON, id: String) throws {
    guard let fields = value.object else { throw TextError("expected an object, not \(value.kind)") }
    self = try ConversationRecord(fields).record(fallbackID: id)
  }
}

/// One message of a conversation in a data file.
private struct MessageRecord {
  private var fields: JSON.Object
  private let number: Int

  init(_ value: JSON, number: Int) throws {
    guard let fields = value.object else { throw TextError("message \(number) is \(value.kind), not an object") }
    (self.fields, self.number) = (fields, number)
  }

  func message() throws -> ChatMessage {
    guard let name = fields["role"]?.string ?? fields["from"]?.string else {
      throw TextError("message \(number) has neither \"role\" nor \"from\"")
    }
    guard let role = Self.roles[name] ?? ChatMessage.Role(rawValue: name) else {
      throw TextError("message \(number) has the unknown role \"\(name)\"")
    }
    let content = try content()
    var message = ChatMessage(role: role, content: content ?? "", isCut: fields["cut"]?.bool ?? false)
    message.hasNoContent = content == nil
    for (key, value) in fields.entries where !Self.known.contains(key) && !value.isNull { message.extra[key] = value }
    return message
  }

  /// The text; nil where it is null or missing and the message has other things to say.
  private func content() throws -> String? {
    switch fields["content"] ?? fields["value"] {
    case .string(let text): return text
    case .array(let parts): return try parts.map(text(ofPart:)).joined(separator: "\n")
    case .null, nil:
      guard fields.entries.contains(where: { !Self.known.contains($0.key) && !$0.value.isEmpty && !$0.value.isNull })
      else { throw TextError("message \(number) has no text") }
      return nil
    case let other?: throw TextError("message \(number): its content is \(other.kind), not a string")
    }
  }

  private func text(ofPart part: JSON) throws -> String {
    if let text = part.string { return text }
    guard part.object?["type"] == "text", let text = part.object?["text"]?.string else {
      let type = part.object?["type"]?.string ?? part.kind
      throw TextError("message \(number): its content has a part of type \(type); only text can be read")
    }
    return text
  }

  private static let known: Set = ["role", "from", "content", "value", "cut"]

  private static let roles: [String: ChatMessage.Role] = [
    "human": .user, "gpt": .assistant, "model": .assistant, "chatgpt": .assistant, "bot": .assistant,
    "function_response": .tool, "observation": .tool, "ipython": .tool,
  ]
}
