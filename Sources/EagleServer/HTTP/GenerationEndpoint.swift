import EagleDecoding
import EagleText
import EagleTraining
import Foundation
import Hummingbird
import Synchronization

/// The two endpoints that write texts: from the body to a job, and from its events to an answer.
struct GenerationEndpoint: Sendable {
  let model: ChatModel
  let plan: DraftPlan
  let config: ServerConfig
  let engine: Engine
  let metrics: ServerMetrics
  let log: @Sendable (String) -> Void
  private let numbers = JobNumbers()
  private let reading = ReadingQueues()

  init(
    model: ChatModel, plan: DraftPlan, config: ServerConfig, context: Int, engine: Engine, metrics: ServerMetrics,
    log: @escaping @Sendable (String) -> Void
  ) {
    self.context = context
    (self.model, self.plan, self.config, self.engine, self.metrics) = (model, plan, config, engine, metrics)
    self.log = log
  }

  /// Most tokens of a text.
  private let context: Int

  /// Bytes of a body: more than any prompt needs that fits the model.
  private var bodyLimit: Int { max(1 << 20, 16 * context) }

  func respond(to request: Request, _ endpoint: AnswerWriter.Endpoint, name: String) async throws -> Response {
    // Whoever cannot be admitted costs no work.
    try checkRoom()
    var request = request
    let body = try await collect(&request)
    let (prompt, settings) = try await reading.run(size: body.count) { try read(body, endpoint) }
    let options = try options(settings, prompt: prompt, endpoint)
    let writer = AnswerWriter(
      endpoint: endpoint, id: (endpoint == .chat ? "chatcmpl-" : "cmpl-") + Self.randomName(),
      created: Int(Date().timeIntervalSince1970), model: config.modelName)
    let (job, events) = makeJob(prompt, settings, options, name)
    switch engine.queue.add(job) {
    case .closed: throw APIError.stopping
    case .full(let waiting): throw full(waiting)
    case .admitted: break
    }
    return settings.isStreaming
      ? stream(request, job, events, writer, settings)
      : try await whole(request, job, events, writer)
  }

  // MARK: the way in

  private func checkRoom() throws {
    let waiting = engine.queue.count
    if waiting >= config.queue { throw full(waiting) }
  }

  private func full(_ waiting: Int) -> APIError {
    .queueFull(waiting: waiting, retryAfter: metrics.seconds(for: waiting))
  }

  private func collect(_ request: inout Request) async throws -> Data {
    if let length = request.headers[.contentLength].flatMap(Int.init), length > bodyLimit {
      throw APIError.tooLarge(limit: bodyLimit)
    }
    do {
      return Data(buffer: try await request.collectBody(upTo: bodyLimit))
    } catch is any HTTPResponseError {
      throw APIError.tooLarge(limit: bodyLimit)
    }
  }

  private func read(_ body: Data, _ endpoint: AnswerWriter.Endpoint) throws -> ([Int32], GenerationSettings) {
    let fields = try RequestFields(body)
    func draw() -> UInt64 { .random(in: 0...(.max)) }
    switch endpoint {
    case .chat:
      let request = try ChatRequest(fields, served: config.modelName, draw: draw)
      do {
        return (try model.prompt(request.messages), request.settings)
      } catch let error as TextError {
        throw APIError.invalid("\(error)", param: "messages")
      }
    case .completion:
      let request = try CompletionRequest(fields, served: config.modelName, draw: draw)
      return (try ids(request.prompt), request.settings)
    }
  }

  /// A raw prompt may hold control tokens: it is not a turn of somebody else.
  private func ids(_ prompt: CompletionRequest.Prompt) throws -> [Int32] {
    switch prompt {
    case .text(let text): return try model.tokenizer.encode(text)
    case .ids(let ids):
      let size = model.target.shape.vocabularySize
      if let odd = ids.first(where: { !(0..<size).contains(Int($0)) }) {
        throw APIError.invalid("prompt holds \(odd), which is no token id below \(size)", param: "prompt")
      }
      return ids
    }
  }

  private func options(
    _ settings: GenerationSettings, prompt: [Int32], _ endpoint: AnswerWriter.Endpoint
  ) throws -> DecodingOptions {
    let room = context - prompt.count
    guard room > 0, settings.maxTokens ?? 1 <= room else {
      let wanted = settings.maxTokens.map { " and \($0) new ones" } ?? ""
      throw APIError.invalid(
        "the prompt of \(prompt.count) tokens\(wanted) do not fit the context of \(context)",
        param: endpoint == .chat ? "messages" : "prompt", code: "context_length_exceeded")
    }
    let usual = endpoint == .chat ? room : min(room, CompletionRequest.usualTokens)
    return DecodingOptions(
      maxNewTokens: settings.maxTokens ?? usual, stopIDs: model.stopIDs, plan: plan(settings),
      sampling: settings.sampling)
  }

  /// A sampled text is drafted for as a tree, whose tokens are the target's own samples: so it does not depend on whether
  /// it was written alone or together with others.
  private func plan(_ settings: GenerationSettings) -> DraftPlan {
    guard !settings.sampling.isGreedy, plan.isChain, plan.depth > 0 else { return plan }
    return DraftPlan(depth: min(plan.depth, 2), width: 2, nodes: min(plan.depth, 2) * 2, costs: plan.costs)
  }

  private func makeJob(
    _ prompt: [Int32], _ settings: GenerationSettings, _ options: DecodingOptions, _ name: String
  ) -> (job: Job, events: AsyncStream<JobEvent>) {
    let (metrics, log) = (metrics, log)
    return Job.make(
      id: numbers.next(), prompt: prompt, options: options,
      stream: AnswerStream(model.tokenizer, stops: settings.stops)
    ) { job, end in
      switch end {
      case .finished(let outcome):
        metrics.count(job, outcome)
        metrics.count(endpoint: name, status: 200)
        log(Self.line(job, outcome, name))
      case .failed(let error): metrics.count(endpoint: name, status: error.status)
      case .cancelled: metrics.count(endpoint: name, status: APIError.clientGone.status)
      }
    }
  }

  // MARK: the way out

  /// What ends with a text also ends the connection: its reading side is where a client that goes away shows.
  private static let closing: HTTPFields = [.connection: "close"]

  private func whole(
    _ request: Request, _ job: Job, _ events: AsyncStream<JobEvent>, _ writer: AnswerWriter
  ) async throws -> Response {
    try await request.body.consumeWithInboundCloseHandler { _ in
      var text = ""
      for await event in events {
        switch event {
        case .piece(let piece): text += piece.text
        case .finished(let outcome): return .json(writer.answer(text, outcome), headers: Self.closing)
        case .failed(let error): return .refusal(error, headers: Self.closing)
        }
      }
      return .refusal(.clientGone, headers: Self.closing)
    } onInboundClosed: {
      engine.cancel(job)
    }
  }

  private func stream(
    _ request: Request, _ job: Job, _ events: AsyncStream<JobEvent>, _ writer: AnswerWriter,
    _ settings: GenerationSettings
  ) -> Response {
    var headers = Self.closing
    headers[.contentType] = "text/event-stream; charset=utf-8"
    headers[.cacheControl] = "no-cache"
    return Response(
      status: .ok, headers: headers,
      body: ResponseBody { connection in
        defer { engine.cancel(job) }
        try await request.body.consumeWithInboundCloseHandler { _ in
          try await connection.write(ByteBuffer(bytes: writer.opening()))
          for await event in events {
            let data =
              switch event {
              case .piece(let piece): writer.piece(piece)
              case .finished(let outcome): writer.ending(outcome, includesUsage: settings.includesUsage)
              case .failed(let error): AnswerWriter.event(error)
              }
            try await connection.write(ByteBuffer(bytes: data))
          }
        } onInboundClosed: {
          engine.cancel(job)
        }
        try await connection.finish(nil)
      })
  }

  private static func line(_ job: Job, _ outcome: Outcome, _ name: String) -> String {
    let statistics = outcome.statistics
    return String(
      format: "%@: %d prompt tokens (%d cached), %d new, %.1f tokens/s, acc_length %.2f, waited %.1f s", name,
      statistics.promptTokens, statistics.cachedTokens, statistics.newTokens, statistics.tokensPerSecond,
      statistics.acceptanceLength, outcome.queueSeconds)
  }

  private static func randomName() -> String {
    UUID().uuidString.replacingOccurrences(of: "-", with: "").lowercased()
  }
}

/// Counts jobs.
private final class JobNumbers: Sendable {
  private let last = Atomic(0)

  func next() -> Int { last.wrappingAdd(1, ordering: .relaxed).newValue }
}
