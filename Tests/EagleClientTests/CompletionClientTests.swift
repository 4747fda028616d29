import EagleClient
import EagleCore
import Foundation
import ScriptedServer
import Synchronization
import Testing

@Suite struct ServerAddressTests {
  @Test("a base URL may end with /v1, with a slash, or with neither")
  func spellings() {
    for text in ["http://a:1", "http://a:1/", "http://a:1/v1", "http://a:1/v1/"] {
      #expect(ServerAddress.complaint(text) == nil)
      #expect("\(ServerAddress(text))" == "http://a:1")
    }
    #expect("\(ServerAddress("https://gate.example/llm/v1"))" == "https://gate.example/llm")
  }

  @Test(
    "what is no base URL is refused",
    arguments: [
      "", "a:8000", "ftp://a", "http://", "http://me:secret@a", "http://a/?k=1", "http://a/#b", "/v1", "http://a b",
    ])
  func refusals(text: String) { #expect(ServerAddress.complaint(text) != nil) }
}

@Suite struct RetryPolicyTests {
  private let policy = RetryPolicy()

  @Test("the delay doubles with each attempt up to the longest")
  func backoff() {
    let delays = (1...9).map { policy.delay(afterAttempt: $0, retryAfter: nil) }
    #expect(delays == [0.5, 1, 2, 4, 8, 16, 32, 60, 60])
  }

  @Test("Retry-After in seconds or as a date replaces the first delay, and is limited")
  func retryAfter() throws {
    let now = Date(timeIntervalSince1970: 784_111_777)  // Sun, 06 Nov 1994 08:49:37 GMT
    func delay(_ header: String) -> Double { policy.delay(afterAttempt: 1, retryAfter: header, now: now) }
    #expect(delay("7") == 7 && delay(" 0 ") == 0 && delay("0.25") == 0.25)
    #expect(delay("1000000000000") == 60 && delay("-3") == 0)
    #expect(delay("Sun, 06 Nov 1994 08:49:50 GMT") == 13)
    #expect(delay("Sun, 06 Nov 1994 08:00:00 GMT") == 0)
    #expect(delay("soon") == 0.5 && delay("nan") == 0.5)
  }

  @Test("Retry-After makes later delays longer, never shorter than the backoff")
  func retryAfterOfLaterAttempts() {
    let delays = (1...9).map { policy.delay(afterAttempt: $0, retryAfter: "0") }
    #expect(delays == [0, 1, 2, 4, 8, 16, 32, 60, 60])
    #expect(policy.delay(afterAttempt: 5, retryAfter: "13") == 13)
    #expect(policy.delay(afterAttempt: 9, retryAfter: "61") == 60)
  }
}

@Suite struct CompletionClientTests {
  /// Attempts without a delay between them.
  private static func policy(attempts: Int = 3) -> RetryPolicy {
    var policy = RetryPolicy()
    (policy.attempts, policy.firstDelay) = (attempts, 0)
    return policy
  }

  private func withClient<T>(
    _ url: String, key: String? = nil, policy: RetryPolicy = policy(), _ body: (CompletionClient) throws -> T
  ) throws -> T {
    let client = try CompletionClient(ServerAddress(url), key: key, connections: 4, policy: policy)
    defer { client.close() }
    return try body(client)
  }

  private func post(_ client: CompletionClient, _ body: JSON = ["n": 1]) -> Result<JSON, RequestFailure>? {
    let mailbox = Mailbox<Result<JSON, RequestFailure>>()
    client.post(body, to: .chat) { mailbox.send($0) }
    return mailbox.receive(within: 60).first
  }

  @Test("a request carries the key and its body, and its response comes back")
  func roundTrip() throws {
    let server = try ScriptedServer { _ in .text("hello") }
    let response = try withClient(server.url + "/v1", key: "secret") { post($0, ["model": "m"]) }
    #expect(try response?.get().object?["choices"]?.array?.count == 1)
    let request = try #require(server.requests.first)
    #expect(request.method == "POST" && request.path == "/v1/chat/completions" && request.body == ["model": "m"])
    #expect(request.headers["authorization"] == "Bearer secret")
    #expect(request.headers["content-type"] == "application/json")
  }

  @Test("a busy server, an error of the server and a lost connection are tried again")
  func retries() throws {
    let server = try ScriptedServer { request in
      switch request.number {
      case 0: .error(429, "busy")
      case 1: .error(503, "loading")
      case 2: .hangUp
      default: .text("at last")
      }
    }
    let response = try withClient(server.url, policy: Self.policy(attempts: 4)) { post($0) }
    #expect(throws: Never.self) { try response?.get() }
    #expect(response != nil && server.requests.count == 4)
  }

  @Test("the delay before the next attempt is the server's", .timeLimit(.minutes(1)))
  func retryAfter() throws {
    let server = try ScriptedServer {
      $0.number == 0 ? .error(429, "busy", headers: ["Retry-After": "0"]) : .text("ok")
    }
    var policy = Self.policy()
    (policy.firstDelay, policy.longestDelay) = (7200, 7200)
    let response = try withClient(server.url, policy: policy) { post($0) }
    #expect(throws: Never.self) { try response?.get() }
    #expect(response != nil && server.requests.count == 2)
  }

  @Test("attempts are limited, and the last reason is told")
  func exhaustion() throws {
    let server = try ScriptedServer { _ in .error(500, "out of\nmemory") }
    let response = try withClient(server.url) { post($0) }
    #expect(response == .failure(.exhausted("HTTP 500: out of memory, 3 times")))
    #expect(server.requests.count == 3)
  }

  @Test("a request that the server refuses is not sent again")
  func refusal() throws {
    let server = try ScriptedServer { _ in .error(400, "too long") }
    #expect(try withClient(server.url) { post($0) } == .failure(.refused("HTTP 400: too long")))
    #expect(server.requests.count == 1)
  }

  @Test("what no request can pass is an error of the server", arguments: [401, 403, 404, 405, 302])
  func serverErrors(status: Int) throws {
    let server = try ScriptedServer { _ in .error(status, "no") }
    let response = try withClient(server.url, key: status == 403 ? "wrong" : nil) { post($0) }
    guard case .failure(.server(let error)) = response else {
      Issue.record("\(String(describing: response))")
      return
    }
    #expect(error.path == server.url && error.advice != nil)
    let words = [401: "requires an API key", 403: "refuses the API key", 302: "redirects"]
    #expect(error.problem.contains(words[status] ?? "does not serve /v1/chat/completions"))
    #expect(server.requests.count == 1)
  }

  @Test("a response that is no JSON, is nested deeply or is too large cannot be used")
  func unusable() throws {
    let bodies = [
      "<html>", "", "{\"a\": ", String(repeating: "[", count: 100_000),
      "\"" + String(repeating: "x", count: CompletionClient.maxResponseBytes) + "\"",
    ]
    let server = try ScriptedServer { .response(status: 200, body: bodies[$0.number]) }
    try withClient(server.url) { client in
      for body in bodies {
        guard case .failure(.unusable) = post(client) else {
          Issue.record("\(body.prefix(20))")
          continue
        }
      }
    }
    #expect(server.requests.count == bodies.count)
  }

  @Test("the models of a server are listed")
  func models() throws {
    let server = try ScriptedServer { _ in .models("a", "b") }
    #expect(try withClient(server.url) { try $0.models() } == ["a", "b"])
    #expect(server.requests.first?.method == "GET" && server.requests.first?.path == "/v1/models")
  }

  @Test("a list of models that is none is an error", arguments: ["{}", "[]", #"{"data": [{"id": 7}]}"#, "no"])
  func noModels(body: String) throws {
    let server = try ScriptedServer { _ in .response(status: 200, body: body) }
    #expect(throws: LocatedError.self) { try withClient(server.url) { try $0.models() } }
  }

  @Test("a server that is not there is one error at once")
  func noServer() throws {
    let url = try ScriptedServer.unusedURL()
    var policy = RetryPolicy()
    policy.firstDelay = 7200
    let error = #expect(throws: LocatedError.self) { try withClient(url, policy: policy) { try $0.models() } }
    #expect(error?.description.contains("\(url): cannot be reached: Connection refused") == true, "\(error as Any)")
    #expect(error?.advice != nil)
  }

  @Test(
    "a server that accepts a connection and stays silent is an error in the time of a list", .timeLimit(.minutes(1)))
  func silentServer() throws {
    let server = try ScriptedServer { _ in .silence }
    let error = #expect(throws: LocatedError.self) { try withClient(server.url) { try $0.models(within: 1) } }
    #expect(error?.description.contains("no response came in 1 s") == true, "\(error as Any)")
    #expect(server.requests.count == 1)
  }

  @Test("a key that no header can hold is refused", arguments: ["a b", "a\r\nX: y", "ключ"])
  func wrongKey(key: String) throws {
    let error = #expect(throws: LocatedError.self) { try withClient("http://127.0.0.1:9", key: key) { _ in } }
    #expect(error?.path == "EAGLE_API_KEY" && error?.description.contains(key) == false)
  }

  @Test("closing the client ends what still runs", .timeLimit(.minutes(1)))
  func closing() throws {
    let server = try ScriptedServer { _ in .silence }
    let mailbox = Mailbox<Result<JSON, RequestFailure>>()
    let client = try CompletionClient(ServerAddress(server.url), key: nil, connections: 1)
    for _ in 0..<3 { client.post([:], to: .chat) { mailbox.send($0) } }
    for _ in 0..<60_000 where server.requests.isEmpty { usleep(1000) }
    try #require(!server.requests.isEmpty)
    client.close()
    var count = 0
    while count < 3 { count += mailbox.receive(within: 60).count }
    #expect(count == 3)
  }
}
