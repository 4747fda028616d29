import EagleDecoding
import Foundation

/// Writes answers as the two endpoints shape them: whole, or as the events of a stream.
package struct AnswerWriter: Sendable {
  package enum Endpoint: Sendable { case chat, completion }

  package let endpoint: Endpoint
  package let id: String
  package let created: Int
  package let model: String

  package init(endpoint: Endpoint, id: String, created: Int, model: String) {
    (self.endpoint, self.id, self.created, self.model) = (endpoint, id, created, model)
  }

  /// The whole answer.
  package func answer(_ text: String, _ outcome: Outcome) -> Data {
    let finish = outcome.finish.rawValue
    let choice: Choice =
      switch endpoint {
      case .chat:
        Choice(message: Message(role: "assistant", content: text, refusal: .some(nil)), finishReason: finish)
      case .completion: Choice(text: text, finishReason: finish)
      }
    return encodeJSON(
      Answer(
        self, object: endpoint == .chat ? "chat.completion" : "text_completion", choices: [choice],
        usage: Usage(outcome.statistics), eagle: .report(AnswerReport(outcome))))
  }

  // MARK: events of a stream

  /// The first one, before there is text. Completions have none.
  package func opening() -> Data {
    guard endpoint == .chat else { return Data() }
    return event(Choice(delta: Message(role: "assistant", content: "")))
  }

  /// Some text, and of how many tokens it is, with how many of these a draft had proposed.
  package func piece(_ piece: Piece) -> Data {
    let choice =
      endpoint == .chat ? Choice(delta: Message(content: piece.text)) : Choice(text: piece.text)
    return event(choice, eagle: .piece(tokens: piece.tokens, accepted: piece.accepted))
  }

  /// The last ones: the reason of the end, the usage where it is wanted, and the mark behind which nothing follows.
  package func ending(_ outcome: Outcome, includesUsage: Bool) -> Data {
    let finish = outcome.finish.rawValue
    let choice =
      endpoint == .chat
      ? Choice(delta: Message(), finishReason: finish) : Choice(text: "", finishReason: finish)
    let last = event(choice, eagle: .report(AnswerReport(outcome)))
    let usage = includesUsage ? Self.event(chunk([], usage: Usage(outcome.statistics))) : Data()
    return last + usage + Data("data: [DONE]\n\n".utf8)
  }

  /// An error behind which the stream ends.
  package static func event(_ error: APIError) -> Data { Data("data: ".utf8) + error.body + Data("\n\n".utf8) }

  private static func event(_ value: some Encodable) -> Data {
    Data("data: ".utf8) + encodeJSON(value) + Data("\n\n".utf8)
  }

  private func event(_ choice: Choice, eagle: Extension? = nil) -> Data {
    Self.event(chunk([choice], eagle: eagle))
  }

  private func chunk(_ choices: [Choice], usage: Usage? = nil, eagle: Extension? = nil) -> Answer {
    Answer(
      self, object: endpoint == .chat ? "chat.completion.chunk" : "text_completion", choices: choices, usage: usage,
      eagle: eagle)
  }
}

/// Text that is sure, as it comes.
package struct Piece: Sendable, Equatable {
  package var text: String
  package var tokens: Int
  /// How many of the tokens a draft had proposed.
  package var accepted: Int

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

/// The field that this server adds; other clients overlook it.
private enum Extension: Encodable {
  case piece(tokens: Int, accepted: Int)
  case report(AnswerReport)

  private enum CodingKeys: String, CodingKey { case tokens, accepted }

  func encode(to encoder: any Encoder) throws {
    switch self {
    case .report(let report): try report.encode(to: encoder)
    case .piece(let tokens, let accepted):
      var fields = encoder.container(keyedBy: CodingKeys.self)
      try fields.encode(tokens, forKey: .tokens)
      try fields.encode(accepted, forKey: .accepted)
    }
  }
}

private struct Message: Encodable {
  var role: String?
  var content: String?
  /// Written as null where it is `.some(nil)`.
  var refusal: String??
}

private struct Choice: Encodable {
  var message: Message?
  var delta: Message?
  var text: String?
  var finishReason: String?

  private enum CodingKeys: String, CodingKey { case index, message, delta, text, logprobs, finishReason }

  /// Clients expect nulls in these two.
  func encode(to encoder: any Encoder) throws {
    var fields = encoder.container(keyedBy: CodingKeys.self)
    try fields.encode(0, forKey: .index)
    try fields.encodeIfPresent(message, forKey: .message)
    try fields.encodeIfPresent(delta, forKey: .delta)
    try fields.encodeIfPresent(text, forKey: .text)
    try fields.encodeNil(forKey: .logprobs)
    try fields.encode(finishReason, forKey: .finishReason)
  }
}
