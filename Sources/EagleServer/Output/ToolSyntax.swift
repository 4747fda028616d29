import EagleCore
import Foundation

/// The syntax of a model's tool calls, by the name of vLLM's parser.
package enum ToolSyntax: String, Sendable, CaseIterable {
  /// `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`: Qwen, Hermes.
  case hermes
  /// `{"name": ..., "parameters": {...}}` at the start of the answer, or after `<|python_tag|>`: Llama 3.
  case llama3 = "llama3_json"
  /// `[TOOL_CALLS][{"name": ..., "arguments": {...}}]`, or `[TOOL_CALLS]name[ARGS]{...}`: Mistral.
  case mistral

  /// The syntax whose marker a chat template or a vocabulary holds; nil for a model without tool calls, and for one
  /// whose calls are no JSON (`unknownMarker`).
  ///
  /// - Parameters:
  ///   - template: the text of the chat template, empty if there is none
  ///   - knows: whether a string is one token of the vocabulary
  package init?(template: String, knows: (String) -> Bool) {
    func holds(_ marker: String) -> Bool { template.contains(marker) }
    if Self.unknownMarker(template: template) != nil { return nil }
    if holds("<tool_call>") {
      self = .hermes
    } else if holds("[TOOL_CALLS]") {
      self = .mistral
    } else if holds("<|python_tag|>") || (holds("\"parameters\"") && knows("<|python_tag|>")) {
      self = .llama3
    } else {
      return nil
    }
  }

  /// The marker of a syntax that is not parsed; nil if the template has none: calls as XML (Qwen3-Coder, GLM), and the
  /// channels of gpt-oss, which hold reasoning and calls.
  package static func unknownMarker(template: String) -> String? {
    ["<function=", "<arg_key>", "<|channel|>"].first { template.contains($0) }
  }

  /// The marker before a call. Its first byte occurs in it only once.
  var opening: [UInt8] {
    switch self {
    case .hermes: Self.hermesOpening
    case .llama3: Self.pythonTag
    case .mistral: Self.toolCalls
    }
  }

  /// The marker after a call, empty if the syntax has none. Its first byte occurs in it only once.
  var closing: [UInt8] { self == .hermes ? Self.hermesClosing : [] }

  /// The markers. Some vocabularies have them as special tokens, which detokenization would leave out.
  var markers: [String] {
    switch self {
    case .hermes: ["<tool_call>", "</tool_call>"]
    case .llama3: ["<|python_tag|>"]
    case .mistral: ["[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"]
    }
  }

  private static let hermesOpening = Array("<tool_call>".utf8)
  private static let hermesClosing = Array("</tool_call>".utf8)
  private static let pythonTag = Array("<|python_tag|>".utf8)
  private static let toolCalls = Array("[TOOL_CALLS]".utf8)
  /// The marker between a name and its arguments.
  static let arguments = Array("[ARGS]".utf8)

  /// The name before `[ARGS]`, without the call id that the model wrote.
  static func name(_ bytes: some Sequence<UInt8>) -> String {
    let text = String(decoding: Array(bytes), as: UTF8.self)
    return text.components(separatedBy: "[CALL_ID]")[0].trimmingCharacters(in: .whitespaces)
  }

  /// The calls of a value; nil if any of them is not a valid call.
  ///
  /// - Parameters:
  ///   - name: the tool whose arguments the value is; nil for a value that names its tools itself
  ///   - names: the tools of the request
  func calls(_ value: Data, name: String?, names: Set<String>) -> [ToolCall]? {
    guard let value = try? JSON.read(value) else { return nil }
    if let name {
      guard names.contains(name), value.object != nil else { return nil }
      return [ToolCall(name: name, arguments: value.text())]
    }
    let keys = self == .llama3 ? ["parameters", "arguments"] : ["arguments", "parameters"]
    let values = value.array ?? [value]
    let calls = values.compactMap { ToolCall($0, keys: keys, names: names, needsArguments: self == .llama3) }
    return calls.isEmpty || calls.count < values.count ? nil : calls
  }
}
