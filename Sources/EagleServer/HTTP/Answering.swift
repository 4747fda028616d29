import EagleDecoding
import Foundation
import Hummingbird

/// The answer to a request, from the events of its texts.
struct Answering: Sendable {
  let request: Request
  /// One for each prompt.
  let texts: [(job: Job, events: AsyncStream<JobEvent>)]
  /// What finds reasoning and calls in each text; nil where all of it is content.
  let parsers: [OutputParser?]
  let writer: AnswerWriter
  let settings: GenerationSettings
  let engine: Engine

  /// What ends with a text also ends the connection: nothing behind the request is answered.
  private var headers: HTTPFields {
    var headers: HTTPFields = [.connection: "close"]
    if !settings.ignored.isEmpty, let name = HTTPFields.Element.Name(IgnoredFields.header) {
      headers[name] = IgnoredFields.list(settings.ignored)
    }
    return headers
  }

  func whole() async throws -> Response {
    defer { cancel() }
    return try await request.body.consumeWithInboundCloseHandler { _ in
      do {
        return .json(writer.answer(try await written()), headers: headers)
      } catch let error as APIError {
        return .refusal(error, headers: headers)
      }
    } onInboundClosed: {
      // It may still read; the connection's guard finds out.
    }
  }

  /// All texts in the order of their prompts. The first that fails, whichever it is, fails the request.
  private func written() async throws -> [AnswerWriter.Written] {
    var deltas = [(text: String, logprobs: [TokenLogprobs])](repeating: ("", []), count: texts.count)
    var outcomes = [Outcome?](repeating: nil, count: texts.count)
    for await (index, event) in Self.merged(texts.map(\.events)) {
      switch event {
      case .delta(let delta):
        deltas[index].text += delta.text
        deltas[index].logprobs += delta.logprobs
      case .finished(let outcome): outcomes[index] = outcome
      case .failed(let error): throw error
      }
    }
    return try texts.indices.map { index in
      guard let outcome = outcomes[index] else { throw APIError.clientGone }
      let written = AnswerWriter.Written(deltas[index].text, outcome, logprobs: deltas[index].logprobs)
      return parsers[index].map { Self.parsed(written, $0) } ?? written
    }
  }

  /// A text with its reasoning and calls as fields.
  private static func parsed(_ written: AnswerWriter.Written, _ parser: OutputParser) -> AnswerWriter.Written {
    var (parser, written) = (parser, written)
    let pieces = parser.append(written.text) + parser.finish()
    written.text = ""
    for piece in pieces {
      switch piece {
      case .content(let text): written.text += text
      case .reasoning(let text): written.reasoning = (written.reasoning ?? "") + text
      case .call(let call, _): written.calls.append(call)
      }
    }
    return written
  }

  func streamed() -> Response {
    var headers = headers
    headers[.contentType] = "text/event-stream; charset=utf-8"
    headers[.cacheControl] = "no-cache"
    return Response(
      status: .ok, headers: headers,
      body: ResponseBody { connection in
        defer { cancel() }
        try await request.body.consumeWithInboundCloseHandler { _ in
          try await connection.write(ByteBuffer(bytes: writer.opening()))
          try await write { try await connection.write(ByteBuffer(bytes: $0)) }
        } onInboundClosed: {
        }
        try await connection.finish(nil)
      })
  }

  /// Ends with the first error.
  private func write(_ emit: (Data) async throws -> Void) async throws {
    var outcomes: [Outcome] = []
    var offsets = [Int](repeating: 0, count: texts.count)
    var parsers = parsers
    for await (index, event) in Self.merged(texts.map(\.events)) {
      switch event {
      case .delta(let delta):
        for event in events(delta, index: index, offset: offsets[index], &parsers[index]) { try await emit(event) }
        offsets[index] += delta.text.unicodeScalars.count
      case .finished(let outcome):
        outcomes.append(outcome)
        for piece in parsers[index]?.finish() ?? [] { try await emit(writer.piece(piece, index: index)) }
        try await emit(writer.end(outcome, index: index, hasCalls: parsers[index].map { $0.calls > 0 } ?? false))
      case .failed(let error): return try await emit(AnswerWriter.event(error))
      }
    }
    if outcomes.count == texts.count {
      try await emit(writer.closing(outcomes, includesUsage: settings.includesUsage))
    }
  }

  /// The events of a delta: its pieces in order. Its tokens and logprobs go with the first content, or by themselves
  /// where all of its text is held back.
  private func events(_ delta: TextDelta, index: Int, offset: Int, _ parser: inout OutputParser?) -> [Data] {
    guard let pieces = parser?.append(delta.text) else {
      return [writer.delta(delta, index: index, offset: offset)]
    }
    var (events, rest) = ([Data](), Optional(delta))
    for piece in pieces {
      if case .content(let text) = piece, var shown = rest {
        (shown.text, rest) = (text, nil)
        events.append(writer.delta(shown, index: index, offset: offset))
      } else {
        events.append(writer.piece(piece, index: index))
      }
    }
    guard var hidden = rest else { return events }
    hidden.text = ""
    return events + [writer.delta(hidden, index: index, offset: offset)]
  }

  /// The events of all texts as they come, each with the index of its text.
  private static func merged(_ streams: [AsyncStream<JobEvent>]) -> AsyncStream<(Int, JobEvent)> {
    AsyncStream { continuation in
      let task = Task {
        await withTaskGroup(of: Void.self) { group in
          for (index, events) in streams.enumerated() {
            group.addTask { for await event in events { continuation.yield((index, event)) } }
          }
        }
        continuation.finish()
      }
      continuation.onTermination = { _ in task.cancel() }
    }
  }

  private func cancel() { for text in texts { engine.cancel(text.job) } }
}

/// How an answer says which fields of its request changed nothing.
package enum IgnoredFields {
  package static let header = "X-Eagle-Ignored"

  /// Names as a header and a log can hold them: letters, digits and `_.-` of each, others as `?`; twenty names at most.
  package static func list(_ names: [String]) -> String {
    let shown = names.prefix(20).map { name in
      String(name.unicodeScalars.prefix(64).map { isPlain($0) ? Character($0) : "?" })
    }
    return shown.joined(separator: ", ") + (names.count > 20 ? ", ..." : "")
  }

  private static func isPlain(_ scalar: Unicode.Scalar) -> Bool {
    scalar.isASCII
      && (scalar.properties.isAlphabetic || ("0"..."9").contains(scalar) || "_.-".unicodeScalars.contains(scalar))
  }
}
