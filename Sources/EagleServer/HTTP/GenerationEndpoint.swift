import EagleChat
import EagleDecoding
import EagleDraft
import EagleText
import Foundation
import Hummingbird
import NIOCore
import Synchronization

/// An endpoint that generates text.
enum TextEndpoint: Sendable {
  case chat, completion, response
}

/// The endpoints that generate text: they turn a body into jobs, and the events of the jobs into a response.
struct GenerationEndpoint: Sendable {
  let model: ChatModel
  let config: ServerConfig
  let engine: Engine
  let metrics: ServerMetrics
  let log: @Sendable (String) -> Void
  private let reader: RequestReader
  private let numbers = JobNumbers()
  private let reading = ReadingQueues()

  init(
    model: ChatModel, plan: DraftPlan, config: ServerConfig, context: Int, engine: Engine, metrics: ServerMetrics,
    log: @escaping @Sendable (String) -> Void
  ) {
    self.context = context
    reader = RequestReader(model: model, plan: plan, config: config, context: context)
    (self.model, self.config, self.engine, self.metrics) = (model, config, engine, metrics)
    self.log = log
  }

  /// The maximum number of tokens of a sequence, including its prompt.
  private let context: Int

  /// The maximum size of a body in bytes: more than any prompt needs that fits the context.
  private var bodyLimit: Int { max(1 << 20, 16 * context) }

  /// - Parameter channel: the connection; when it closes, no client waits for the answers
  func respond(
    to request: Request, _ endpoint: TextEndpoint, name: String, _ channel: any Channel
  ) async throws -> Response {
    // A request that cannot be admitted is not parsed.
    try checkQueue()
    var request = request
    let body = try await collect(&request)
    let read = try await reading.run(size: body.count) { try reader.read(body, endpoint) }
    let (metrics, status) = (metrics, RequestStatus(texts: read.prompts.count))
    let texts = read.prompts.map { prompt in
      makeJob(prompt, read, name: name) {
        if let status = status.note($0) { metrics.count(endpoint: name, status: status) }
      }
    }
    try admit(texts.map(\.job), channel)
    noteIgnored(read.settings.ignored, name)
    let answer = Answering(
      request: request, texts: texts, parsers: read.parsers, writer: writer(endpoint, read), settings: read.settings,
      engine: engine)
    return read.settings.isStreaming ? answer.streamed() : try await answer.whole()
  }

  private func writer(_ endpoint: TextEndpoint, _ read: ReadRequest) -> any AnswerWriting {
    let (name, created) = (Self.randomName(), Int(Date().timeIntervalSince1970))
    let model = config.modelNames[0]
    var spelling: AnswerWriter.Spelling?
    if read.settings.sampling.logprobs != nil {
      spelling = { [tokenizer = self.model.tokenizer] in tokenizer.bytes(of: $0) }
    }
    switch endpoint {
    case .chat:
      return AnswerWriter(endpoint: .chat, id: "chatcmpl-" + name, created: created, model: model, spelling: spelling)
    case .completion:
      return AnswerWriter(endpoint: .completion, id: "cmpl-" + name, created: created, model: model, spelling: spelling)
    case .response: return ResponseWriter(name: name, created: created, model: model, echo: read.echo)
    }
  }

  private func admit(_ jobs: [Job], _ channel: any Channel) throws {
    switch engine.queue.add(jobs) {
    case .closed: throw APIError.stopping
    case .full(let waiting): throw full(waiting, texts: jobs.count)
    case .admitted: break
    }
    for job in jobs {
      channel.closeFuture.whenComplete { [engine, weak job] _ in
        if let job { engine.cancel(job) }
      }
    }
  }

  private func noteIgnored(_ names: [String], _ endpoint: String) {
    guard !names.isEmpty else { return }
    log("\(endpoint): ignored unknown fields: \(IgnoredFields.list(names))")
  }

  // MARK: reading the request

  private func checkQueue() throws {
    let waiting = engine.queue.count
    if waiting >= config.queue { throw full(waiting) }
  }

  private func full(_ waiting: Int, texts: Int = 1) -> APIError {
    .queueFull(
      waiting: waiting, texts: texts, capacity: config.queue, retryAfter: metrics.seconds(for: waiting))
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

  private func makeJob(
    _ prompt: ReadRequest.Prompt, _ read: ReadRequest, name: String, noteStatus: @escaping @Sendable (Int) -> Void
  ) -> (job: Job, events: AsyncStream<JobEvent>) {
    let (metrics, log, settings) = (metrics, log, read.settings)
    let record = settings.mayBeRecorded ? config.record : nil
    return Job.make(id: numbers.next(), prompt: prompt.ids, options: prompt.options, stream: read.stream) { job, end in
      switch end {
      case .finished(let outcome):
        metrics.count(job, outcome)
        record?.add(prompt: job.prompt, answer: job.answer)
        noteStatus(200)
        log(Self.logLine(outcome, name))
      case .failed(let error): noteStatus(error.status)
      case .cancelled: noteStatus(APIError.clientGone.status)
      }
    }
  }

  private static func logLine(_ outcome: Outcome, _ name: String) -> String {
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

/// The status of a request with several sequences: 200 if all of them finish, otherwise the status of the first
/// failure.
package final class RequestStatus: Sendable {
  private struct State {
    var open: Int
    var status = 200
  }

  private let state: Mutex<State>

  package init(texts: Int) { state = Mutex(State(open: texts)) }

  /// Records the status of one sequence.
  ///
  /// - Returns: the request's status after its last sequence, before that nil
  package func note(_ status: Int) -> Int? {
    state.withLock {
      if $0.status == 200 { $0.status = status }
      $0.open -= 1
      return $0.open == 0 ? $0.status : nil
    }
  }
}

/// Numbers the jobs.
private final class JobNumbers: Sendable {
  private let last = Atomic(0)

  func next() -> Int { last.wrappingAdd(1, ordering: .relaxed).newValue }
}
