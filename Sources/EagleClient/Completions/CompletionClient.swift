import AsyncHTTPClient
import EagleCore
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix

/// A client of OpenAI's API, which vLLM, SGLang, llama.cpp's server and `eagle-run serve` implement. A reference type.
///
/// Requests run concurrently on the threads of SwiftNIO. A request that fails because the server is busy (429), by a
/// server error (5xx) or by a broken connection is sent again with backoff, as often as the policy allows.
package final class CompletionClient: Sendable, CustomStringConvertible {
  package enum Endpoint: String, Sendable {
    case models = "/v1/models"
    case chat = "/v1/chat/completions"
    case completions = "/v1/completions"
  }

  /// The maximum size of a response in bytes.
  package static let maxResponseBytes = 16 << 20
  /// The maximum seconds from a completion request to the end of its response. It is long because a server that batches
  /// may answer late.
  static let timeout: Int64 = 1800

  private let address: ServerAddress
  private let key: String?
  private let policy: RetryPolicy
  private let http: HTTPClient

  /// Creates a client without opening a connection. The caller must call `close`.
  ///
  /// - Parameters:
  ///   - key: the bearer token
  ///   - connections: requests that run at the same time
  /// - Throws: for a key that is not valid in a header
  package init(_ address: ServerAddress, key: String?, connections: Int, policy: RetryPolicy = RetryPolicy()) throws {
    (self.address, self.key, self.policy) = (address, key, policy)
    guard key?.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) ?? true else {
      throw LocatedError(
        path: "EAGLE_API_KEY", problem: "it holds a space or a character that no HTTP header can hold",
        advice: "set it to the key alone")
    }
    http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: Self.configuration(connections))
  }

  private static func configuration(_ connections: Int) -> HTTPClient.Configuration {
    var configuration = HTTPClient.Configuration(
      redirectConfiguration: .disallow, timeout: .init(connect: .seconds(10)))
    configuration.httpVersion = .http1Only
    configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = connections
    // This client counts a refused connection as an attempt and retries it itself.
    configuration.connectionPool.retryConnectionEstablishment = false
    return configuration
  }

  /// The server's address.
  package var description: String { "\(address)" }

  /// Cancels the running requests. Must not be called on a thread of SwiftNIO.
  package func close() { try? http.syncShutdown() }

  /// The names of the models that the server has. Blocks until the response arrives.
  ///
  /// - Parameter seconds: the maximum from a request to the end of its response; a list does not wait for a batch
  /// - Throws: when the server cannot be reached, does not respond in time, rejects the key, or returns no list
  package func models(within seconds: Int64 = 30) throws -> [String] {
    let mailbox = Mailbox<Result<JSON, RequestFailure>>()
    send(Call(endpoint: .models, body: nil, seconds: seconds, retriesConnection: false)) { mailbox.send($0) }
    var responses: [Result<JSON, RequestFailure>] = []
    while responses.isEmpty { responses = mailbox.receive(within: 60) }
    let names: [String]?
    do {
      names = try responses[0].get().object?["data"]?.array?.compactMap { $0.object?["id"]?.string }
    } catch { throw located(error) }
    guard let names, !names.isEmpty else { throw fault("/v1/models gives no list of models", Self.otherServer) }
    return names
  }

  /// Sends a request.
  ///
  /// - Parameter then: called once, on another thread, with the response or with the reason for the failure
  package func post(
    _ body: JSON, to endpoint: Endpoint, then: @escaping @Sendable (Result<JSON, RequestFailure>) -> Void
  ) {
    send(Call(endpoint: endpoint, body: Array(body.text().utf8)), then)
  }

  /// The error with which a failure ends the stage.
  package func located(_ failure: RequestFailure) -> LocatedError {
    switch failure {
    case .server(let error): error
    case .refused(let reason): fault("it refuses the request: \(reason)", Self.otherServer)
    case .unusable(let reason): fault("its response cannot be used: \(reason)", Self.otherServer)
    case .exhausted(let reason): fault(reason, "start the server, or name another one")
    }
  }

  private func fault(_ problem: String, _ advice: String) -> LocatedError {
    LocatedError(path: "\(address)", problem: problem, advice: advice)
  }

  private static let otherServer = "name a server of OpenAI's API: vLLM, SGLang, llama-server or eagle-run serve"

  // MARK: attempts

  private struct Call: Sendable {
    let endpoint: Endpoint
    /// Nil for a GET.
    let body: [UInt8]?
    /// The maximum seconds from a request to the end of its response.
    var seconds = CompletionClient.timeout
    /// Whether a failed connection is retried.
    var retriesConnection = true
    var attempt = 1
  }

  private enum Outcome {
    case ended(Result<JSON, RequestFailure>)
    case failed(String, retryAfter: String?)
  }

  private func send(_ call: Call, _ then: @escaping @Sendable (Result<JSON, RequestFailure>) -> Void) {
    let request: HTTPClient.Request
    do { request = try self.request(call) } catch { return then(.failure(.refused("\(error)"))) }
    let task = http.execute(
      request: request, delegate: ResponseAccumulator(request: request, maxBodySize: Self.maxResponseBytes),
      deadline: .now() + .seconds(call.seconds))
    task.futureResult.whenComplete { result in
      switch self.outcome(result, call) {
      case .ended(let response): then(response)
      case .failed(let reason, _) where call.attempt >= self.policy.attempts:
        then(.failure(.exhausted(call.attempt == 1 ? reason : "\(reason), \(call.attempt) times")))
      case .failed(_, let retryAfter):
        let seconds = self.policy.delay(afterAttempt: call.attempt, retryAfter: retryAfter)
        var next = call
        next.attempt += 1
        task.eventLoop.scheduleTask(in: .nanoseconds(Int64(seconds * 1e9))) { [next] in self.send(next, then) }
      }
    }
  }

  private func request(_ call: Call) throws -> HTTPClient.Request {
    var request = try HTTPClient.Request(
      url: address.url(of: call.endpoint), method: call.body == nil ? .GET : .POST,
      body: call.body.map { .byteBuffer(ByteBuffer(bytes: $0)) })
    request.headers.add(name: "Accept", value: "application/json")
    if call.body != nil { request.headers.add(name: "Content-Type", value: "application/json") }
    if let key { request.headers.add(name: "Authorization", value: "Bearer \(key)") }
    return request
  }

  private func outcome(_ result: Result<HTTPClient.Response, any Error>, _ call: Call) -> Outcome {
    switch result {
    case .success(let response): outcome(response, call.endpoint)
    case .failure(let error as HTTPClientError) where [.cancelled, .alreadyShutdown].contains(error):
      .ended(.failure(.exhausted("the client was closed")))
    case .failure(let error as ResponseAccumulator.ResponseTooBigError):
      .ended(.failure(.unusable("it has more than \(error.maxBodySize) bytes")))
    case .failure(let error) where call.retriesConnection:
      .failed(ConnectionWords.words(for: error, seconds: call.seconds), retryAfter: nil)
    case .failure(let error): .ended(.failure(.exhausted(ConnectionWords.words(for: error, seconds: call.seconds))))
    }
  }

  private func outcome(_ response: HTTPClient.Response, _ endpoint: Endpoint) -> Outcome {
    let bytes = response.body.map { Array($0.readableBytesView) } ?? []
    let status = Int(response.status.code)
    let reason = "HTTP \(status)" + ErrorBody.message(bytes).map { ": \($0)" }
    switch status {
    case 200:
      do { return .ended(.success(try JSON.read(bytes))) } catch {
        return .ended(.failure(.unusable("it is not JSON: \(error)")))
      }
    case 408, 425, 429, 500...: return .failed(reason, retryAfter: response.headers.first(name: "Retry-After"))
    case 401, 403:
      let problem = key == nil ? "it requires an API key" : "it refuses the API key"
      return .ended(.failure(.server(fault("\(problem) (\(reason))", "set EAGLE_API_KEY in the environment"))))
    case 404, 405:
      let problem = "it does not serve \(endpoint.rawValue) or the model (\(reason))"
      return .ended(.failure(.server(fault(problem, Self.otherServer))))
    case 300..<400:
      let place = response.headers.first(name: "Location").map { " to \($0.prefix(200))" } ?? ""
      return .ended(.failure(.server(fault("it redirects\(place) (HTTP \(status))", "name that URL instead"))))
    default: return .ended(.failure(.refused(reason)))
    }
  }
}

extension String {
  fileprivate static func + (text: String, more: String?) -> String { more.map { text + $0 } ?? text }
}
