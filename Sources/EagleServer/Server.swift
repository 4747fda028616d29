import EagleChat
import EagleDecoding
import EagleDraft
import EagleModels
import Foundation
import Synchronization

/// An HTTP server that speaks OpenAI's API: chat and text completions, whole and streamed, with a chat page.
///
/// One thread decodes; requests wait for it in a bounded FIFO queue.
package final class Server: Sendable {
  private let config: ServerConfig
  private let engine: Engine
  private let state = ServerState()
  private let listener: Listener<Routes>

  /// - Parameters:
  ///   - model: the target model
  ///   - draft: the draft head; nil selects plain decoding
  ///   - plan: the draft plan of a round
  ///   - config: address, limits, key
  ///   - limits: the limits of the KV caches
  ///   - log: called with one line for each finished sequence
  package init(
    model: ChatModel, draft: DraftModel?, plan: DraftPlan, config: ServerConfig, limits: CacheLimits,
    log: @escaping @Sendable (String) -> Void = { _ in }
  ) {
    self.config = config
    engine = Engine(model: model, draft: draft, config: config, limits: limits)
    let metrics = ServerMetrics()
    let routes = Routes(
      access: AccessRules(config),
      generation: GenerationEndpoint(
        model: model, plan: plan, config: config, context: limits.context, engine: engine, metrics: metrics,
        log: log),
      metrics: metrics, engine: engine, state: state, names: config.modelNames,
      draft: draft?.shape.architecture, crossOrigin: CrossOrigin(config.corsOrigins),
      created: Int(Date().timeIntervalSince1970))
    listener = Listener(
      host: config.host, port: config.port, connections: config.connections, idleSeconds: config.idleSeconds,
      writeSeconds: config.writeSeconds, responder: routes)
  }

  /// Serves until `stop` is called and all requests have ended.
  ///
  /// - Parameter onListening: called with the port once requests are answered
  /// - Throws: `ServerError` when the address cannot be listened on, and for an empty key
  package func run(onListening: @escaping @Sendable (Int) -> Void) async throws {
    if config.apiKey == "" { throw ServerError("the API key is empty: give one, or nil to let everyone in") }
    engine.start()
    do {
      try await listener.run(onListening: onListening)
    } catch {
      engine.queue.close()
      if state.isStopping { return }
      throw ServerError(
        "\(config.host):\(config.port): cannot be listened on (\(error)): choose another --port or --host")
    }
  }

  /// Accepts no more requests, waits for the running ones for at most `stopSeconds`, and ends.
  package func stop() async {
    guard state.stop() else { return }
    engine.queue.close()
    let deadline = ContinuousClock.now + .seconds(config.stopSeconds)
    while !engine.isIdle {
      if ContinuousClock.now >= deadline { engine.cancelAll() }
      try? await Task.sleep(for: .milliseconds(20))
    }
    await listener.stop()
  }
}

/// Whether the server still accepts requests.
final class ServerState: Sendable {
  private let stopping = Atomic(false)

  var isStopping: Bool { stopping.load(ordering: .relaxed) }

  /// False if it was already stopping.
  func stop() -> Bool { !stopping.exchange(true, ordering: .relaxed) }
}

/// A server that cannot start.
package struct ServerError: Error, CustomStringConvertible, LocalizedError {
  package let description: String

  init(_ description: String) { self.description = description }

  package var errorDescription: String? { description }
}
