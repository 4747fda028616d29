import EagleChat
import EagleCore
import EagleText
import Foundation

/// Parses a server's response.
enum ServedText {
  /// A response that does not conform to the API.
  struct Fault: Error { let reason: String }

  /// Reads the first choice of a response.
  ///
  /// - Throws: `Fault` for a malformed response, and for a text that did not end by itself or at its limit
  static func read(_ response: JSON, for request: DialogueRequest, _ format: ChatFormat) throws -> GeneratedText {
    guard let choice = response.object?["choices"]?.array?.first?.object else {
      throw Fault(reason: "it has no choices[0]")
    }
    let isCut = try isCut(choice["finish_reason"] ?? .null)
    let message: ChatMessage
    switch request.kind {
    case .question: message = ChatMessage(role: .user, content: try text(of: choice), isCut: isCut)
    case .answer: message = try answer(choice, isCut: isCut, isOpen: format.opensReasoning(request.prompt))
    }
    let tokens = response.object?["usage"]?.object?["completion_tokens"]?.int
    let ids = try format.tokenizer.encode(message.content)
    return GeneratedText(message, ids: ids, tokenCount: tokens.flatMap { (0...request.maxNewTokens) ~= $0 ? $0 : nil })
  }

  private static func isCut(_ reason: JSON) throws -> Bool {
    switch reason.string {
    case "stop", "tool_calls", "function_call", "eos": return false
    case "length": return true
    default: throw Fault(reason: "its finish_reason is \(reason.text().prefix(40)), not stop, length or tool_calls")
    }
  }

  private static func text(of choice: JSON.Object) throws -> String {
    guard let text = choice["text"]?.string else { throw Fault(reason: "it has no choices[0].text") }
    return text
  }

  /// - Parameter isOpen: whether the prompt opens `<think>`; a server that keeps reasoning in the content then leaves
  ///   out the opening tag. Content that closes no reasoning, and was not cut within it, is the answer of a server that
  ///   has taken an empty reasoning away.
  private static func answer(_ choice: JSON.Object, isCut: Bool, isOpen: Bool) throws -> ChatMessage {
    guard let fields = choice["message"]?.object else { throw Fault(reason: "it has no choices[0].message") }
    let (reasoning, content) = (try reasoning(fields), try text(fields["content"] ?? .null, "content"))
    let isWithin = isOpen && reasoning == nil && !content.hasPrefix("<think>")
    let opening = isWithin && (isCut || content.contains("</think>")) ? "<think>\n" : ""
    var message = ChatMessage(role: .assistant, content: opening + content, isCut: isCut)
    if let reasoning { message.extra["reasoning_content"] = .string(reasoning) }
    let calls = try (fields["tool_calls"]?.array ?? []).map(GeneratedToolCall.init)
    if !calls.isEmpty { message.extra["tool_calls"] = .array(calls.map(\.json)) }
    return message
  }

  private static func reasoning(_ fields: JSON.Object) throws -> String? {
    let texts = try ["reasoning_content", "reasoning"].map { try text(fields[$0] ?? .null, $0) }
    return texts.first { !$0.allSatisfy(\.isWhitespace) }
  }

  private static func text(_ value: JSON, _ name: String) throws -> String {
    if value.isNull { return "" }
    guard let text = value.string else { throw Fault(reason: "its message.\(name) is \(value.kind), not a text") }
    return text
  }
}

/// A call of a tool in an answer, as OpenAI's API spells it.
struct GeneratedToolCall: Codable, Equatable {
  struct Function: Codable, Equatable {
    let name: String
    /// A JSON string.
    let arguments: String
  }

  var id: String?
  var type = "function"
  let function: Function

  /// - Throws: `ServedText.Fault` for a malformed value
  init(_ value: JSON) throws {
    let fields = value.object?["function"]?.object
    guard let name = fields?["name"]?.string, !name.isEmpty else {
      throw ServedText.Fault(reason: "a call in its message.tool_calls has no function.name")
    }
    let arguments = fields?["arguments"] ?? .null
    id = value.object?["id"]?.string
    function = Function(name: name, arguments: arguments.string ?? (arguments.isNull ? "{}" : arguments.text()))
  }

  var json: JSON {
    var call = JSON.Object()
    if let id { call["id"] = .string(id) }
    call["type"] = .string(type)
    call["function"] = ["name": .string(function.name), "arguments": .string(function.arguments)]
    return .object(call)
  }
}
