import EagleChat
import EagleDecoding
import EagleJinja
import EagleText
import Foundation
import Hummingbird
import NIOCore
import Synchronization

/// The two endpoints that generate texts: from the body to a job, and from its events to an answer.
struct GenerationEndpoint: Sendable {
  let model: ChatModel
  let plan: DraftPlan
  let config: ServerConfig
  let engine: Engine
  let metrics: ServerMetrics
  let log: @Sendable (String) -> Void
  private let format: OutputFormat
  private let numbers = JobNumbers()
  private let reading = ReadingQueues()

  init(
    model: ChatModel, plan: DraftPlan, config: ServerConfig, context: Int, engine: Engine, metrics: ServerMetrics,
    log: @escaping @Sendable (String) -> Void
  ) {
    self.context = context
    format = OutputFormat(model, config)
    (self.model, self.plan, self.config, self.engine, self.metrics) = (model, plan, config, engine, metrics)
    self.log = log
  }

  /// The most tokens of a text, its prompt included.
  private let context: Int

  /// The most bytes of a body: more than any prompt needs that fits the model.
  private var bodyLimit: Int { max(1 << 20, 16 * context) }

  /// - Parameter channel: the connection; when it closes nobody waits for the texts any more
  func respond(
    to request: Request, _ endpoint: AnswerWriter.Endpoint, name: String, _ channel: any Channel
  ) async throws -> Response {
    // A request that cannot be admitted is not parsed.
    try checkQueue()
    var request = request
    let body = try await collect(&request)
    let (prompts, settings, parsers) = try await reading.run(size: body.count) { try read(body, endpoint) }
    let (metrics, status) = (metrics, RequestStatus(texts: prompts.count))
    let texts = try prompts.map { prompt in
      makeJob(prompt, settings, options: try options(settings, prompt: prompt, endpoint), name: name) {
        if let status = status.note($0) { metrics.count(endpoint: name, status: status) }
      }
    }
    try admit(texts.map(\.job), channel)
    noteIgnored(settings.ignored, name)
    let writer = writer(endpoint, settings)
    let answer = Answering(
      request: request, texts: texts, parsers: parsers, writer: writer, settings: settings, engine: engine)
    return settings.isStreaming ? answer.streamed() : try await answer.whole()
  }

  private func writer(_ endpoint: AnswerWriter.Endpoint, _ settings: GenerationSettings) -> AnswerWriter {
    var writer = AnswerWriter(
      endpoint: endpoint, id: (endpoint == .chat ? "chatcmpl-" : "cmpl-") + Self.randomName(),
      created: Int(Date().timeIntervalSince1970), model: config.modelNames[0])
    if settings.sampling.logprobs != nil {
      writer.spelling = { [tokenizer = model.tokenizer] in tokenizer.bytes(of: $0) }
    }
    return writer
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

  private func read(_ body: Data, _ endpoint: AnswerWriter.Endpoint) throws -> (
    prompts: [[Int32]], settings: GenerationSettings, parsers: [OutputParser?]
  ) {
    let fields = try RequestFields(body)
    func makeSeed() -> UInt64 { .random(in: 0...(.max)) }
    switch endpoint {
    case .chat:
      let request = try ChatRequest(fields, rules, makeSeed: makeSeed)
      var settings = try noting(request)
      let prompt = try prompt(request)
      if !request.tools.definitions.isEmpty, format.syntax?.hasSpecialMarkers == true { settings.skipsSpecial = false }
      return ([prompt], settings, [format.parser(request, isReasoning: model.opensReasoning(prompt))])
    case .completion:
      let request = try CompletionRequest(fields, rules, makeSeed: makeSeed)
      do {
        return (try request.prompts.map(ids), request.settings, request.prompts.map { _ in nil })
      } catch let error as TextError {
        throw APIError.invalid("\(error)", param: "prompt")
      }
    }
  }

  /// The ids of a chat.
  private func prompt(_ request: ChatRequest) throws -> [Int32] {
    let tools = request.tools.definitions
    guard tools.isEmpty || model.template.references("tools") else {
      throw APIError.invalid("the model's chat template takes no tools", param: "tools", code: "unsupported_value")
    }
    do {
      return try model.prompt(request.messages, tools: tools, options: request.templateOptions)
    } catch let error as TextError {
      throw APIError.invalid("\(error)", param: "messages")
    } catch let error as TemplateError where error.kind != .syntax {
      throw APIError.invalid("the chat template refuses the messages: \(error.problem)", param: "messages")
    }
  }

  /// The settings of a request, with the variables that the model's template does not read among what is ignored.
  private func noting(_ request: ChatRequest) throws -> GenerationSettings {
    let unread = request.templateOptions.keys.filter { !model.template.references($0) }
    if config.isStrict, let name = unread.first {
      throw APIError.invalid(
        "the model's chat template has no variable \(name)", param: name, code: "unknown_parameter")
    }
    var settings = request.settings
    settings.ignored += unread
    return settings
  }

  private var rules: RequestRules {
    var rules = RequestRules(names: config.modelNames, vocabularySize: model.target.shape.vocabularySize)
    (rules.takesAnyName, rules.isStrict) = (config.takesAnyModel, config.isStrict)
    (rules.maxPrompts, rules.sampling) = (config.queue, config.sampling)
    return rules
  }

  /// A raw prompt may hold control tokens: it is not a turn of somebody else. It begins with the model's BOS, once.
  private func ids(_ prompt: CompletionRequest.Prompt) throws -> [Int32] {
    switch prompt {
    case .text(let text): try model.tokenizer.encodeFramed(text)
    case .ids(let ids): ids
    }
  }

  private func options(
    _ settings: GenerationSettings, prompt: [Int32], _ endpoint: AnswerWriter.Endpoint
  ) throws -> DecodingOptions {
    let free = context - prompt.count
    guard free > 0 else {
      throw APIError.invalid(
        "the prompt of \(prompt.count) tokens leaves no room in the context of \(context)",
        param: endpoint == .chat ? "messages" : "prompt", code: "context_length_exceeded")
    }
    let standard = endpoint == .chat ? free : CompletionRequest.defaultMaxTokens
    let stopIDs = settings.ignoresEnd ? settings.stopIDs : model.stopIDs.union(settings.stopIDs)
    return DecodingOptions(
      maxNewTokens: min(settings.maxTokens ?? standard, free), stopIDs: stopIDs, plan: plan(settings),
      sampling: settings.sampling)
  }

  /// A sampled text is drafted for as a tree, whose tokens are the target's own samples: so it does not depend on
  /// whether it was written alone or together with others.
  private func plan(_ settings: GenerationSettings) -> DraftPlan {
    guard !settings.sampling.isGreedy, plan.isChain, plan.depth > 0 else { return plan }
    return DraftPlan(depth: min(plan.depth, 2), width: 2, nodes: min(plan.depth, 2) * 2, costs: plan.costs)
  }

  private func makeJob(
    _ prompt: [Int32], _ settings: GenerationSettings, options: DecodingOptions, name: String,
    noteStatus: @escaping @Sendable (Int) -> Void
  ) -> (job: Job, events: AsyncStream<JobEvent>) {
    let (metrics, log) = (metrics, log)
    return Job.make(
      id: numbers.next(), prompt: prompt, options: options,
      stream: AnswerStream(model.tokenizer, stops: settings.stops, skipSpecial: settings.skipsSpecial)
    ) { job, end in
      switch end {
      case .finished(let outcome):
        metrics.count(job, outcome)
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

/// The status of a request with several texts: 200 when all of them are written, otherwise that of the first that was
/// not.
package final class RequestStatus: Sendable {
  private struct State {
    var open: Int
    var status = 200
  }

  private let state: Mutex<State>

  package init(texts: Int) { state = Mutex(State(open: texts)) }

  /// Notes how one text ended.
  ///
  /// - Returns: the request's status with the last of its texts, before that nil
  package func note(_ status: Int) -> Int? {
    state.withLock {
      if $0.status == 200 { $0.status = status }
      $0.open -= 1
      return $0.open == 0 ? $0.status : nil
    }
  }
}

/// Counts jobs.
private final class JobNumbers: Sendable {
  private let last = Atomic(0)

  func next() -> Int { last.wrappingAdd(1, ordering: .relaxed).newValue }
}
