import EagleCore
import Foundation

/// Writes the responses of `/v1/responses`: an object with items, or the events that build it.
///
/// An item is reasoning, a message or a call. One is open at a time; a piece of another kind closes it.
package struct ResponseWriter: AnswerWriting, Sendable {
  private enum Kind {
    case reasoning, message
  }

  /// The open item.
  private struct Open {
    let kind: Kind
    var text = ""
  }

  private enum Status: String {
    case inProgress = "in_progress"
    case completed, incomplete, failed
  }

  /// The suffix that all ids of this response share.
  private let name: String
  private let created: Int
  private let model: String
  /// Fields of the request that the response repeats.
  private let echo: JSON.Object
  /// The sequence number of the next event.
  private var number = 0
  /// Items that are closed.
  private var items: [JSON] = []
  private var open: Open?

  package init(name: String, created: Int, model: String, echo: JSON.Object = JSON.Object()) {
    (self.name, self.created, self.model, self.echo) = (name, created, model, echo)
  }

  /// The complete response. The endpoint has one prompt and one answer.
  package func answer(_ texts: [AnswerWriter.Written]) -> Data {
    guard let written = texts.first else { return Data() }
    var writer = self
    for piece in written.pieces where piece != .content("") { _ = writer.piece(piece) }
    _ = writer.end(written.outcome)
    return Data(writer.response(Self.status(written.outcome), written.outcome).text().utf8)
  }

  // MARK: events of a stream

  package mutating func opening() -> Data {
    event("response.created", [("response", response(.inProgress))])
      + event("response.in_progress", [("response", response(.inProgress))])
  }

  package mutating func delta(_ delta: TextDelta, index: Int, offset: Int) -> Data {
    delta.text.isEmpty ? Data() : piece(.content(delta.text))
  }

  package mutating func piece(_ piece: OutputParser.Piece, index: Int = 0) -> Data {
    switch piece {
    case .content(let text): append(text, to: .message)
    case .reasoning(let text): append(text, to: .reasoning)
    case .call(let call, let index): close(.completed) + add(call, index: index)
    }
  }

  /// Closes the open item. A response without items gets a message without text.
  package mutating func end(_ outcome: Outcome, index: Int = 0, hasCalls: Bool = false) -> Data {
    let begun = items.isEmpty && open == nil ? append("", to: .message) : Data()
    return begun + close(Self.status(outcome))
  }

  package mutating func closing(_ outcomes: [Outcome], includesUsage: Bool) -> Data {
    let outcome = Outcome.sum(outcomes)
    let status = Self.status(outcome)
    return event("response.\(status.rawValue)", [("response", response(status, outcome))])
  }

  package mutating func failure(_ error: APIError) -> Data {
    let code: JSON = .string(error.code ?? error.type)
    let told = event(
      "error",
      [("code", code), ("message", .string(error.message)), ("param", error.param.map(JSON.string) ?? .null)])
    var failed = response(.failed)
    if case .object(var fields) = failed {
      fields["error"] = ["code": code, "message": .string(error.message)]
      failed = .object(fields)
    }
    return told + event("response.failed", [("response", failed)])
  }

  // MARK: items

  private mutating func append(_ text: String, to kind: Kind) -> Data {
    let begun = open?.kind == kind ? Data() : close(.completed) + begin(kind)
    guard !text.isEmpty else { return begun }
    open?.text += text
    return begun + partEvent(kind, "delta", with: [("delta", .string(text))])
  }

  private mutating func begin(_ kind: Kind) -> Data {
    open = Open(kind: kind)
    return itemEvent("added", item(kind, parts: [], .inProgress))
      + event("response.content_part.added", place(kind, with: [("part", Self.part(kind, ""))]))
  }

  private mutating func close(_ status: Status) -> Data {
    guard let (kind, text) = open.map({ ($0.kind, $0.text) }) else { return Data() }
    let part = Self.part(kind, text)
    let whole = item(kind, parts: [part], status)
    let events =
      partEvent(kind, "done", with: [("text", .string(text))])
      + event("response.content_part.done", place(kind, with: [("part", part)])) + itemEvent("done", whole)
    items.append(whole)
    open = nil
    return events
  }

  private mutating func add(_ call: ToolCall, index: Int) -> Data {
    func item(_ arguments: String, _ status: Status) -> JSON {
      [
        "id": .string("fc_\(name)_\(items.count)"), "type": "function_call", "status": .string(status.rawValue),
        "call_id": .string("call_\(name)_\(index)"), "name": .string(call.name), "arguments": .string(arguments),
      ]
    }
    let (begun, whole) = (item("", .inProgress), item(call.arguments, .completed))
    let place: [(String, JSON)] = [
      ("item_id", .string("fc_\(name)_\(items.count)")), ("output_index", JSON(items.count)),
    ]
    let events =
      itemEvent("added", begun)
      + event(
        "response.function_call_arguments.delta", place + [("delta", .string(call.arguments))])
      + event(
        "response.function_call_arguments.done",
        place + [("name", .string(call.name)), ("arguments", .string(call.arguments))])
      + itemEvent("done", whole)
    items.append(whole)
    return events
  }

  private func item(_ kind: Kind, parts: [JSON], _ status: Status) -> JSON {
    let id = JSON.string(itemID(kind))
    switch kind {
    case .message:
      return [
        "id": id, "type": "message", "role": "assistant", "status": .string(status.rawValue), "content": .array(parts),
      ]
    case .reasoning:
      return [
        "id": id, "type": "reasoning", "status": .string(status.rawValue), "summary": [], "content": .array(parts),
      ]
    }
  }

  private func itemID(_ kind: Kind) -> String {
    "\(kind == .message ? "msg" : "rs")_\(name)_\(items.count)"
  }

  private static func part(_ kind: Kind, _ text: String) -> JSON {
    switch kind {
    case .message: ["type": "output_text", "text": .string(text), "annotations": [], "logprobs": []]
    case .reasoning: ["type": "reasoning_text", "text": .string(text)]
    }
  }

  // MARK: shapes

  private mutating func itemEvent(_ change: String, _ item: JSON) -> Data {
    event("response.output_item.\(change)", [("output_index", JSON(items.count)), ("item", item)])
  }

  /// An event of the text of the open item.
  private mutating func partEvent(_ kind: Kind, _ change: String, with more: [(String, JSON)]) -> Data {
    switch kind {
    case .message: event("response.output_text.\(change)", place(kind, with: more + [("logprobs", [])]))
    case .reasoning: event("response.reasoning_text.\(change)", place(kind, with: more))
    }
  }

  private func place(_ kind: Kind, with more: [(String, JSON)]) -> [(String, JSON)] {
    [("item_id", .string(itemID(kind))), ("output_index", JSON(items.count)), ("content_index", 0)] + more
  }

  private mutating func event(_ type: String, _ fields: [(String, JSON)]) -> Data {
    defer { number += 1 }
    let value = JSON.Object([("type", .string(type)), ("sequence_number", JSON(number))] + fields)
    return serverSentEvent(Data(JSON.object(value).text().utf8), type: type)
  }

  private static func status(_ outcome: Outcome) -> Status { outcome.finish == .length ? .incomplete : .completed }

  /// The response with the items so far.
  private func response(_ status: Status, _ outcome: Outcome? = nil) -> JSON {
    let reason: JSON = status == .incomplete ? ["reason": "max_output_tokens"] : .null
    let text: JSON = ["format": ["type": "text"]]
    var fields = JSON.Object([
      ("id", .string("resp_\(name)")), ("object", "response"), ("created_at", JSON(created)),
      ("status", .string(status.rawValue)), ("model", .string(model)), ("output", .array(items)), ("error", .null),
      ("incomplete_details", reason), ("previous_response_id", .null), ("text", text), ("truncation", "disabled"),
      ("usage", outcome.map(Self.usage) ?? .null),
    ])
    for (key, value) in echo.entries { fields[key] = value }
    return .object(fields)
  }

  private static func usage(_ outcome: Outcome) -> JSON {
    let statistics = outcome.statistics
    return [
      "input_tokens": JSON(statistics.promptTokens),
      "input_tokens_details": ["cached_tokens": JSON(statistics.cachedTokens)],
      "output_tokens": JSON(statistics.newTokens),
      "output_tokens_details": ["reasoning_tokens": JSON(outcome.reasoningTokens ?? 0)],
      "total_tokens": JSON(statistics.promptTokens + statistics.newTokens),
    ]
  }
}
