import ArgumentParser
import Dispatch
import EagleChat
import EagleCore
import EagleServer
import Foundation

private let defaults = ServerConfig(modelName: "")

struct Serve: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Serve an OpenAI-compatible HTTP API, with a chat page at /.")

  @OptionGroup var models: ModelOptions

  @Option(
    help: """
      Address to listen on. If other machines can reach the address, set --api-key; otherwise any of them can use the \
      model.
      """)
  var host = defaults.host

  @Option(help: "Port to listen on; 0 chooses a free port.")
  var port = defaults.port

  @Option(help: "API key that clients must send as a bearer token. Prefer the environment variable EAGLE_API_KEY.")
  var apiKey: String?

  @Option(help: "Model name in the API. May be repeated. The default is the name of the target's folder or file.")
  var modelName: [String] = []

  @Flag(help: "Accept requests with any model name.")
  var anyModel = false

  @Flag(
    help: """
      Reject requests with unknown fields. By default unknown fields are ignored, and the response header \
      X-Eagle-Ignored lists them.
      """)
  var strict = false

  @Option(help: "Allowed CORS origin: a site whose pages may send requests, or * for any site. May be repeated.")
  var corsOrigin: [String] = []

  @Option(help: "Tool-call parser. auto detects it from the model's chat template or vocabulary.")
  var toolParser = ParserChoice<ToolSyntax>.auto

  @Option(help: "Reasoning parser. auto detects it from the model's chat template or vocabulary.")
  var reasoningParser = ParserChoice<ReasoningStyle>.auto

  @Option(help: "Queue size: maximum number of waiting requests. Further requests are rejected with status 429.")
  var queue = defaults.queue

  @Option(
    help: """
      Batch size: maximum number of texts that are decoded together, at most 64. 1 decodes requests one after another.
      """)
  var batch = defaults.batch

  @Option(
    help: """
      Memory limit of all KV caches together, for example 4GB. The default is half of the memory that is free after \
      loading the target.
      """)
  var cacheMemory: ByteCount?

  @Option(help: "Finished conversations whose KV caches stay in memory for the next turn (prefix caching).")
  var conversations = defaults.conversations

  @Option(
    help: """
      Seconds that accepted requests have to finish after SIGTERM or Ctrl-C. A second signal ends the server at once.
      """)
  var stopSeconds = defaults.stopSeconds

  @Option(help: "Idle timeout: close a connection on which no whole request comes for this many seconds.")
  var idleSeconds = defaults.idleSeconds

  @Option(help: "Write timeout: close a connection if the client reads nothing of its answer for this many seconds.")
  var writeSeconds = defaults.writeSeconds

  @Option(
    help: "Append finished answers to this file as tokens for training, except for requests with store: false.")
  var record: String?

  @OptionGroup var plan: PlanOptions

  func validate() throws {
    guard (0...65535).contains(port) else { throw ValidationError("--port must be from 0 to 65535") }
    guard queue > 0, conversations > 0 else { throw ValidationError("--queue and --conversations must be above 0") }
    guard (1...64).contains(batch) else { throw ValidationError("--batch must be from 1 to 64") }
    guard (0...86400).contains(stopSeconds) else {
      throw ValidationError("--stop-seconds must be from 0 to 86400, a day")
    }
    for (name, seconds) in [("--idle-seconds", idleSeconds), ("--write-seconds", writeSeconds)] {
      guard (1...86_400).contains(seconds) else { throw ValidationError("\(name) must be from 1 to 86400") }
    }
    guard !modelName.contains("") else { throw ValidationError("--model-name must not be empty") }
    guard !corsOrigin.contains("") else { throw ValidationError("--cors-origin must not be empty") }
    guard key != "" else { throw ValidationError("the API key is empty: give one or leave it out") }
  }

  func run() throws {
    // While there is only one thread, because threads that start later inherit the blocked signals.
    let signals = StopSignals([SIGTERM, SIGINT])
    let record = try record.map { try AnswerRecord(path: $0, log: Output.note) }
    // Before the weights are loaded, because the limits subtract them.
    let available = SystemMemory.available
    let (model, draft) = try models.load()
    let config = try config(for: model, record)
    if let path = self.record {
      Output.note(
        "recording prompts and answers to \(path): inform your users; requests with store: false are not recorded")
    }
    let limits = try CacheLimits(config, target: model.target, draft: draft, availableBytes: available)
    Output.note(limits.description)
    let format = OutputFormat(model, config)
    Output.note(format.description)
    if let warning = format.warning { Output.note(warning) }
    let server = Server(
      model: model, draft: draft, plan: try plan.plan(models, model, draft), config: config, limits: limits,
      log: Output.note)
    if config.apiKey == nil && !config.isLoopback {
      Output.note(
        "warning: other machines can reach \(host), and without an API key any of them can use the model")
    }
    signals.handle { _ in
      Output.note("stopping: accepted requests finish first; a second signal ends the server at once")
      Task { await server.stop() }
    }
    try waitFor {
      try await server.run { port in
        Output.note("serving \(config.modelNames[0]) at \(ServerConfig.url(host: host, port: port))")
      }
    }
    signals.end()
    Output.note("stopped")
  }

  private var key: String? { apiKey ?? ProcessInfo.processInfo.environment["EAGLE_API_KEY"] }

  private func config(for model: ChatModel, _ record: AnswerRecord?) throws -> ServerConfig {
    var config = ServerConfig(modelName: models.name)
    config.record = record
    if !modelName.isEmpty { config.modelNames = modelName }
    (config.takesAnyModel, config.isStrict, config.corsOrigins) = (anyModel, strict, corsOrigin)
    (config.idleSeconds, config.writeSeconds) = (idleSeconds, writeSeconds)
    (config.toolParser, config.reasoningParser) = (toolParser, reasoningParser)
    (config.host, config.port, config.apiKey) = (host, port, key)
    (config.queue, config.batch) = (queue, batch)
    (config.context, config.cacheBytes) = (models.context, cacheMemory?.bytes)
    (config.conversations, config.stopSeconds) = (conversations, stopSeconds)
    config.sampling = model.generation.sampling(over: config.sampling)
    try config.sampling.validate()
    model.generation.tell(config.sampling, overriddenBy: "requests")
    return config
  }
}

extension ParserChoice: ExpressibleByArgument {
  package init?(argument: String) { self.init(name: argument) }

  package var defaultValueDescription: String { name }
  package static var allValueStrings: [String] { names }
}

/// Runs asynchronous work from a synchronous command, and rethrows its error.
private func waitFor(_ work: @escaping @Sendable () async throws -> Void) throws {
  let done = DispatchSemaphore(value: 0)
  nonisolated(unsafe) var result: Result<Void, any Error> = .success(())
  Task {
    do { try await work() } catch { result = .failure(error) }
    done.signal()
  }
  done.wait()
  try result.get()
}

/// A size in the syntax of a flag: `500MB`, `4GB`, `4GiB`, or bytes.
struct ByteCount: ExpressibleByArgument {
  let bytes: Int

  init?(argument: String) {
    let number = argument.prefix { $0.isNumber || $0 == "." }
    let units = ["": 1.0, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KIB": 1024, "MIB": 1_048_576, "GIB": 1_073_741_824]
    guard let count = Double(number), let unit = units[argument.dropFirst(number.count).uppercased()],
      let bytes = Int(exactly: (count * unit).rounded()), bytes > 0
    else { return nil }
    self.bytes = bytes
  }
}
