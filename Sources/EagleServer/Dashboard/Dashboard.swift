import EagleReport
import Foundation
import Hummingbird
import Synchronization

/// Serves a run's report as a page that follows the run by server-sent events.
package final class Dashboard: Sendable {
  private let config: DashboardConfig
  private let feed: DashboardFeed
  private let listener: Listener<DashboardRoutes>
  private let ended = DispatchSemaphore(value: 0)

  /// - Parameters:
  ///   - folder: the run's output
  ///   - config: address and token
  package init(folder: String, config: DashboardConfig) {
    self.config = config
    feed = DashboardFeed(folder: folder)
    listener = Listener(
      host: config.host, port: config.port, connections: 64, idleSeconds: config.idleSeconds, writeSeconds: 60,
      responder: DashboardRoutes(config: config, feed: feed))
  }

  /// Starts the server on threads of its own. Blocks the calling thread until the server listens; the thread must not
  /// belong to Swift's cooperative pool.
  ///
  /// - Returns: the page's address
  /// - Throws: `ServerError` when the address cannot be listened on
  package func start() throws -> String {
    let begun = DispatchSemaphore(value: 0)
    let outcome = Outcome()
    Task.detached { [listener, ended] in
      do {
        try await listener.run { port in
          outcome.set(.success(port))
          begun.signal()
        }
      } catch {
        outcome.set(.failure(ServerError("\(error)")))
      }
      begun.signal()
      ended.signal()
    }
    begun.wait()
    switch outcome.first {
    case .success(let port)?:
      return ServerConfig.url(host: config.host, port: port) + (config.token.map { "?token=\($0)" } ?? "")
    case .failure(let error)?:
      throw ServerError(
        "\(config.host):\(config.port): cannot be listened on (\(error)): choose another address for --dashboard")
    case nil: throw ServerError("\(config.host):\(config.port): the dashboard ended before it began")
    }
  }

  /// Sends the last state of the run to the open pages, and stops. Blocks like `start`.
  package func stop() {
    Task.detached { [feed, listener] in
      await feed.end()
      await listener.stop()
    }
    _ = ended.wait(timeout: .now() + 8)
  }

  /// The result of the start. Only the first result is kept.
  private final class Outcome: Sendable {
    private let value = Mutex<Result<Int, ServerError>?>(nil)

    func set(_ result: Result<Int, ServerError>) { value.withLock { $0 = $0 ?? result } }

    var first: Result<Int, ServerError>? { value.withLock { $0 } }
  }
}

/// The page, and the events by which it stays up to date.
struct DashboardRoutes: HTTPResponder {
  typealias Context = ConnectionContext

  let config: DashboardConfig
  let feed: DashboardFeed

  func respond(to request: Request, context: ConnectionContext) async throws -> Response {
    if config.token == nil, let name = LocalNames(host: config.host).foreignName(in: request.head.authority) {
      return refusal(.forbidden, "this page answers under a local name only, not \(name)")
    }
    guard request.method == .get else { return refusal(.methodNotAllowed, "only GET is answered here") }
    if let token = config.token {
      let given = request.uri.queryParameters["token"].map(String.init) ?? ""
      guard AccessRules.isEqual(Array(given.utf8), Array(token.utf8)) else {
        return refusal(.forbidden, "open the address that the run has printed; its token is missing here or wrong")
      }
    }
    switch request.uri.path {
    case "/": return .page(ByteBuffer(string: RunReport.livePage))
    case "/events": return events
    default: return refusal(.notFound, "there is nothing here but / and /events")
    }
  }

  private var events: Response {
    Response(
      status: .ok, headers: [.contentType: "text/event-stream", .cacheControl: "no-store"],
      body: ResponseBody { [feed] writer in
        var (seen, silent) = (0, 0)
        while true {
          let isLast = await feed.isEnding
          if let version = await feed.version(after: seen) {
            (seen, silent) = (version.number, 0)
            try await writer.write(ByteBuffer(string: Self.event(version)))
          } else if silent >= 30 {
            // Keeps the connection alive, and detects a client that has gone.
            silent = 0
            try await writer.write(ByteBuffer(string: ": nothing new\n\n"))
          }
          if isLast { break }
          silent += 1
          try await Task.sleep(for: .milliseconds(500))
        }
        try await writer.finish(nil)
      })
  }

  /// Server-sent events consist of lines, so the content is sent as one JSON string.
  private static func event(_ version: DashboardFeed.Version) throws -> String {
    let data = try JSONEncoder().encode(version.content)
    return "id: \(version.number)\nevent: content\ndata: \(String(decoding: data, as: UTF8.self))\n\n"
  }

  private func refusal(_ status: HTTPResponse.Status, _ text: String) -> Response {
    Response(
      status: status, headers: [.contentType: "text/plain; charset=utf-8"],
      body: ResponseBody(byteBuffer: ByteBuffer(string: text + "\n")))
  }
}
