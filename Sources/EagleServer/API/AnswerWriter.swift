import EagleDecoding
import EagleDraft
import Foundation

/// Writes the response to a request in the format of its endpoint: as one body, or as the events of a stream in order.
protocol AnswerWriting: Sendable {
  /// The complete response, with one result for each prompt in order.
  func answer(_ texts: [AnswerWriter.Written]) -> Data
  /// The first events, before there is text.
  mutating func opening() -> Data
  /// New text of the answer to the prompt `index`, after `offset` characters.
  mutating func delta(_ delta: TextDelta, index: Int, offset: Int) -> Data
  /// A piece of the answer to the prompt `index`.
  mutating func piece(_ piece: OutputParser.Piece, index: Int) -> Data
  /// The end of the answer to the prompt `index`.
  mutating func end(_ outcome: Outcome, index: Int, hasCalls: Bool) -> Data
  /// The last events.
  mutating func closing(_ outcomes: [Outcome], includesUsage: Bool) -> Data
  /// An error, which ends the stream.
  mutating func failure(_ error: APIError) -> Data
}

/// Writes chat and text completions.
package struct AnswerWriter: AnswerWriting, Sendable {
  package enum Endpoint: Sendable { case chat, completion }

  package let endpoint: Endpoint
  package let id: String
  package let created: Int
  package let model: String
  /// The bytes of the tokens in logprobs; nil for a request without these.
  package var spelling: Spelling?

  /// The bytes of a token.
  package typealias Spelling = @Sendable (Int32) -> [UInt8]

  package init(endpoint: Endpoint, id: String, created: Int, model: String, spelling: Spelling? = nil) {
    (self.endpoint, self.id, self.created, self.model) = (endpoint, id, created, model)
    self.spelling = spelling
  }

  /// A finished answer.
  package struct Written: Sendable {
    /// The reasoning, the content and the calls in the order in which the model wrote them.
    package var pieces: [OutputParser.Piece]
    package var outcome: Outcome
    package var logprobs: [LogprobRun]

    package init(_ pieces: [OutputParser.Piece], _ outcome: Outcome, logprobs: [LogprobRun] = []) {
      (self.pieces, self.outcome, self.logprobs) = (pieces, outcome, logprobs)
    }

    /// The content without the reasoning and the calls between its parts.
    package var text: String { pieces.compactMap(\.contentText).joined() }

    /// The reasoning; nil where the model marked none.
    package var reasoning: String? {
      let texts = pieces.compactMap(\.reasoningText)
      return texts.isEmpty ? nil : texts.joined()
    }

    package var calls: [ToolCall] { pieces.compactMap(\.toolCall) }
  }

  /// The complete response: one choice for each prompt, in order.
  package func answer(_ texts: [Written]) -> Data {
    let choices = texts.enumerated().map { choice($1, index: $0) }
    let outcome = Outcome.sum(texts.map(\.outcome))
    return encodeJSON(
      Answer(
        self, object: endpoint == .chat ? "chat.completion" : "text_completion", choices: choices,
        usage: Usage(outcome), eagle: .report(AnswerReport(outcome))))
  }

  private func choice(_ written: Written, index: Int) -> Choice {
    let (text, calls) = (written.text, written.calls)
    let finish = finishReason(written.outcome, hasCalls: !calls.isEmpty)
    let logprobs = logprobs(written.logprobs)
    switch endpoint {
    case .chat:
      let message = message(text, reasoning: written.reasoning, calls: calls, index: index)
      return Choice(index: index, message: message, logprobs: logprobs, finishReason: finish)
    case .completion: return Choice(index: index, text: text, logprobs: logprobs, finishReason: finish)
    }
  }

  /// Content is null if the message has calls and no content.
  private func message(_ text: String, reasoning: String?, calls: [ToolCall], index: Int) -> Message {
    let calls = calls.enumerated().map { number, call in
      CallFields(index: nil, id: callID(text: index, call: number), call)
    }
    let isNull = text.isEmpty && !calls.isEmpty
    return Message(
      role: "assistant", content: .some(isNull ? nil : text), refusal: .some(nil),
      reasoningContent: reasoning, toolCalls: calls.isEmpty ? nil : calls)
  }

  /// The finish reason: `tool_calls` if the model stopped by itself and the answer has calls.
  private func finishReason(_ outcome: Outcome, hasCalls: Bool) -> String {
    hasCalls && outcome.finish == .stop ? "tool_calls" : outcome.finish.rawValue
  }

  /// The id of a call, unique among all responses. OpenAI takes at most 40 characters.
  private func callID(text: Int, call: Int) -> String {
    "call_\(id.drop { $0 != "-" }.dropFirst().prefix(24))_\(text)_\(call)"
  }

  // MARK: events of a stream

  /// The first event, before any text. Completions have none.
  package func opening() -> Data {
    guard endpoint == .chat else { return Data() }
    return event(Choice(delta: Message(role: "assistant", content: "")))
  }

  /// A delta of the text, with the number of its tokens and the number of them that were drafted.
  ///
  /// - Parameters:
  ///   - index: the index of the prompt that it continues
  ///   - offset: characters of the text before it
  package func delta(_ delta: TextDelta, index: Int = 0, offset: Int = 0) -> Data {
    let logprobs = logprobs([LogprobRun(offset: offset, tokens: delta.logprobs)])
    let choice =
      endpoint == .chat
      ? Choice(index: index, delta: Message(content: delta.text), logprobs: logprobs)
      : Choice(index: index, text: delta.text, logprobs: logprobs)
    return event(choice, eagle: .delta(tokens: delta.tokens, accepted: delta.accepted))
  }

  /// A piece of a chat's answer. A call is two events: its id and name, then its arguments.
  ///
  /// - Parameter index: the index of the prompt that it continues
  package func piece(_ piece: OutputParser.Piece, index: Int = 0) -> Data {
    switch piece {
    case .content(let text): event(Choice(index: index, delta: Message(content: text)))
    case .reasoning(let text): event(Choice(index: index, delta: Message(reasoningContent: text)))
    case .call(let call, let number):
      [
        CallFields(index: number, id: callID(text: index, call: number), ToolCall(name: call.name, arguments: "")),
        CallFields(index: number, arguments: call.arguments),
      ].map { event(Choice(index: index, delta: Message(toolCalls: [$0]))) }.reduce(Data(), +)
    }
  }

  /// The end of one answer, with its finish reason.
  package func end(_ outcome: Outcome, index: Int = 0, hasCalls: Bool = false) -> Data {
    let finish = finishReason(outcome, hasCalls: hasCalls)
    let choice =
      endpoint == .chat
      ? Choice(index: index, delta: Message(), finishReason: finish)
      : Choice(index: index, text: "", finishReason: finish)
    return event(choice, eagle: .report(AnswerReport(outcome)))
  }

  /// The last events: the usage if it was requested, and `[DONE]`.
  package func closing(_ outcomes: [Outcome], includesUsage: Bool) -> Data {
    let usage =
      includesUsage ? Self.event(chunk([], usage: Usage(Outcome.sum(outcomes)))) : Data()
    return usage + Data("data: [DONE]\n\n".utf8)
  }

  private func logprobs(_ runs: [LogprobRun]) -> Logprobs? { spelling.map { Logprobs(endpoint, runs, spelling: $0) } }

  /// An error, which ends the stream.
  package func failure(_ error: APIError) -> Data { serverSentEvent(error.body) }

  private static func event(_ value: some Encodable) -> Data { serverSentEvent(encodeJSON(value)) }

  private func event(_ choice: Choice, eagle: Extension? = nil) -> Data {
    Self.event(chunk([choice], eagle: eagle))
  }

  private func chunk(_ choices: [Choice], usage: Usage? = nil, eagle: Extension? = nil) -> Answer {
    Answer(
      self, object: endpoint == .chat ? "chat.completion.chunk" : "text_completion", choices: choices, usage: usage,
      eagle: eagle)
  }
}

/// Text that new tokens complete. It ends in no partial character and in no prefix of a stop string.
package struct TextDelta: Sendable, Equatable {
  package var text: String
  package var tokens: Int
  /// The number of these tokens that were drafted.
  package var accepted: Int
  /// The logprobs of the tokens, if the request asks for them.
  package var logprobs: [TokenLogprobs] = []

  package init(text: String, tokens: Int, accepted: Int) {
    (self.text, self.tokens, self.accepted) = (text, tokens, accepted)
  }
}

private struct Answer: Encodable {
  let id: String
  let object: String
  let created: Int
  let model: String
  let choices: [Choice]
  let usage: Usage?
  let eagle: Extension?

  init(_ writer: AnswerWriter, object: String, choices: [Choice], usage: Usage?, eagle: Extension?) {
    (id, created, model) = (writer.id, writer.created, writer.model)
    (self.object, self.choices, self.usage, self.eagle) = (object, choices, usage, eagle)
  }
}

/// The extension field of this server, which clients may ignore.
private enum Extension: Encodable {
  case delta(tokens: Int, accepted: Int)
  case report(AnswerReport)

  private enum CodingKeys: String, CodingKey { case tokens, accepted }

  func encode(to encoder: any Encoder) throws {
    switch self {
    case .report(let report): try report.encode(to: encoder)
    case .delta(let tokens, let accepted):
      var fields = encoder.container(keyedBy: CodingKeys.self)
      try fields.encode(tokens, forKey: .tokens)
      try fields.encode(accepted, forKey: .accepted)
    }
  }
}

private struct Message: Encodable {
  var role: String?
  /// This and `refusal` are written as null where they are `.some(nil)`.
  var content: String??
  var refusal: String??
  var reasoningContent: String?
  var toolCalls: [CallFields]?
}

/// A call, or in a stream a part of one.
private struct CallFields: Encodable {
  /// The index of the call; present only in streams.
  let index: Int?
  let id: String?
  let type: String?
  let function: Function

  struct Function: Encodable {
    let name: String?
    let arguments: String
  }

  init(index: Int?, id: String, _ call: ToolCall) {
    (self.index, self.id, type) = (index, id, "function")
    function = Function(name: call.name, arguments: call.arguments)
  }

  init(index: Int, arguments: String) {
    (self.index, id, type) = (index, nil, nil)
    function = Function(name: nil, arguments: arguments)
  }
}

private struct Choice: Encodable {
  var index = 0
  var message: Message?
  var delta: Message?
  var text: String?
  var logprobs: Logprobs?
  var finishReason: String?

  private enum CodingKeys: String, CodingKey { case index, message, delta, text, logprobs, finishReason }

  /// Clients expect `logprobs` and `finish_reason` to be present, with null for no value.
  func encode(to encoder: any Encoder) throws {
    var fields = encoder.container(keyedBy: CodingKeys.self)
    try fields.encode(index, forKey: .index)
    try fields.encodeIfPresent(message, forKey: .message)
    try fields.encodeIfPresent(delta, forKey: .delta)
    try fields.encodeIfPresent(text, forKey: .text)
    try fields.encode(logprobs, forKey: .logprobs)
    try fields.encode(finishReason, forKey: .finishReason)
  }
}
