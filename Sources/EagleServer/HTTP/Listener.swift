import Hummingbird
import Logging
import NIOCore
import ServiceLifecycle
import Synchronization

/// The context of a request: the connection over which it came.
struct ConnectionContext: RequestContext {
  var coreContext: CoreRequestContextStorage
  let channel: any Channel

  init(source: ApplicationRequestContextSource) {
    coreContext = CoreRequestContextStorage(source: source)
    channel = source.channel
  }
}

/// Answers requests on an address, from `run` until `stop`.
final class Listener<Responder: HTTPResponder>: Sendable where Responder.Context == ConnectionContext {
  private let host: String
  private let port: Int
  private let responder: Responder
  /// The maximum number of open connections.
  private let connections: Int
  private let limits: ConnectionGuard.Limits
  private let state = Mutex(State())

  private struct State {
    var group: ServiceGroup?
    var isStopped = false
  }

  init(host: String, port: Int, connections: Int, idleSeconds: Int, writeSeconds: Int, responder: Responder) {
    (self.host, self.port, self.responder) = (host, port, responder)
    self.connections = connections
    limits = ConnectionGuard.Limits(requestSeconds: idleSeconds, writeSeconds: writeSeconds)
  }

  /// Returns after `stop`, also one that came before, or throws when the address cannot be listened on.
  ///
  /// - Parameter onListening: called with the port once requests are answered
  func run(onListening: @escaping @Sendable (Int) -> Void) async throws {
    let limits = limits
    let logger = Logger(label: "eagle") { _ in SwiftLogNoOpLogHandler() }
    let application = Application(
      responder: responder,
      server: .http1(
        // Without Hummingbird's idle timeout, which does not see that a response is still being read. `ConnectionGuard`
        // has its own timeout.
        configuration: .init(additionalChannelHandlers: [ConnectionGuard(limits)])),
      configuration: ApplicationConfiguration(
        address: .hostname(host, port: port), serverName: nil,
        availableConnectionsDelegate: .maximum(connections, logger: logger)),
      onServerRunning: { onListening($0.localAddress?.port ?? 0) },
      logger: logger)
    var configuration = ServiceGroupConfiguration(services: [application], logger: logger)
    configuration.maximumGracefulShutdownDuration = .seconds(5)
    let group = ServiceGroup(configuration: configuration)
    let isStopped = state.withLock {
      $0.group = group
      return $0.isStopped
    }
    if !isStopped { try await group.run() }
  }

  /// Waits at most five seconds for running requests to end and for clients to read their responses.
  func stop() async {
    let group = state.withLock {
      $0.isStopped = true
      return $0.group
    }
    await group?.triggerGracefulShutdown()
  }
}
