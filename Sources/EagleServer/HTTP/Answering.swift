import EagleDecoding
import Foundation
import Hummingbird

/// Builds the response to a request from the events of its jobs.
struct Answering: Sendable {
  let request: Request
  /// One for each prompt.
  let texts: [(job: Job, events: AsyncStream<JobEvent>)]
  /// The parser of reasoning and calls for each answer; nil if all of its text is content.
  let parsers: [OutputParser?]
  let writer: any AnswerWriting
  let settings: GenerationSettings
  let engine: Engine

  /// The connection closes with the response: requests after this one are not answered.
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
      // The client may still read; `ConnectionGuard` detects whether it does.
    }
  }

  /// All answers in the order of their prompts. The first failure of any of them fails the request.
  private func written() async throws -> [AnswerWriter.Written] {
    var collected = parsers.map { CollectedText(parser: $0) }
    for await (index, event) in Self.merged(texts.map(\.events)) {
      switch event {
      case .delta(let delta): collected[index].append(delta)
      case .finished(let outcome): collected[index].finish(outcome)
      case .failed(let error): throw error
      }
    }
    return try collected.map {
      guard let written = $0.written else { throw APIError.clientGone }
      return written
    }
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
          try await write { try await connection.write(ByteBuffer(bytes: $0)) }
        } onInboundClosed: {
        }
        try await connection.finish(nil)
      })
  }

  /// Ends with the first error.
  private func write(_ emit: (Data) async throws -> Void) async throws {
    var stream = StreamedTexts(writer: writer, parsers: parsers)
    try await emit(stream.writer.opening())
    for await (index, event) in Self.merged(texts.map(\.events)) {
      switch event {
      case .delta(let delta): for event in stream.events(delta, index: index) { try await emit(event) }
      case .finished(let outcome): for event in stream.end(outcome, index: index) { try await emit(event) }
      case .failed(let error): return try await emit(stream.writer.failure(error))
      }
    }
    if stream.outcomes.count == texts.count {
      try await emit(stream.writer.closing(stream.outcomes, includesUsage: settings.includesUsage))
    }
  }

  /// The events of all jobs in the order of arrival, each with the index of its prompt.
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
