import EagleCore
import EagleServer
import Foundation
import FoundationNetworking
import Glibc
import Testing

/// A folder for a run's files.
private final class RunFiles {
  let path = NSTemporaryDirectory() + "/eagle-dashboard-" + UUID().uuidString

  init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func put(steps: Int) throws { try Self.put(steps: steps, in: path) }

  static func put(steps: Int, in path: String) throws {
    let lines = (1...steps).map { step in
      "{\"step\":\(step),\"epoch\":1,\"loss\":\(3.25 + Double(step)),\"lr\":0.001,\"grad_norm\":1,\"tokens\":640,"
        + "\"tokens_per_second\":900,\"accuracy\":[0.5],\"acceptance\":[0.4],\"loss_by_position\":[2],"
        + "\"simulated_acceptance_length\":1.5}\n"
    }
    try Data(lines.joined().utf8).write(to: URL(fileURLWithPath: "\(path)/metrics.jsonl"))
  }
}

/// A response that is read as it arrives.
private final class Stream {
  private let socket: Int32
  private var text = ""

  convenience init(port: UInt16, path: String) throws {
    try self.init(port: port)
    try write("GET \(path) HTTP/1.1\r\nHost: localhost\r\n\r\n")
  }

  init(port: UInt16) throws {
    socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    (address.sin_family, address.sin_port) = (sa_family_t(AF_INET), port.bigEndian)
    address.sin_addr.s_addr = inet_addr("127.0.0.1")
    let isConnected = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    try #require(isConnected == 0)
  }

  deinit { close(socket) }

  func write(_ text: String) throws {
    let bytes = Array(text.utf8)
    try #require(send(socket, bytes, bytes.count, 0) == bytes.count)
  }

  /// Whether the other side closes the connection within some seconds.
  func ends(within seconds: Int) -> Bool {
    var limit = timeval(tv_sec: seconds, tv_usec: 0)
    setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    var byte: UInt8 = 0
    let count = recv(socket, &byte, 1, 0)
    return count == 0 || (count < 0 && errno == ECONNRESET)
  }

  /// All text so far, up to `mark` or to the end.
  @discardableResult
  func read(until mark: String? = nil) -> String {
    var bytes = [UInt8](repeating: 0, count: 1 << 16)
    while mark.map({ !text.contains($0) }) ?? true {
      let count = recv(socket, &bytes, bytes.count, 0)
      guard count > 0 else { break }
      text += String(decoding: bytes[..<count], as: UTF8.self)
    }
    return text
  }
}

@Suite struct DashboardFeedTests {
  @Test("a run that cannot be read shows the error")
  func aRunThatCannotBeReadSaysWhy() async throws {
    let run = try RunFiles()
    let empty = await DashboardFeed(folder: run.path).version(after: 0)
    #expect(empty?.content.contains("Nothing has been measured yet") == true)
    try run.put(steps: 2)
    try Data("{".utf8).write(to: URL(fileURLWithPath: "\(run.path)/evaluation.json"))
    let broken = await DashboardFeed(folder: run.path).version(after: 0)
    #expect(broken?.content.contains("evaluation.json") == true, "\(broken?.content ?? "")")
  }
}

@Suite struct DashboardConfigTests {
  @Test("a dashboard address is a port, or a host and a port")
  func addressesAreTakenApart() throws {
    for (text, host, port) in [
      ("127.0.0.1:8090", "127.0.0.1", 8090), ("9000", "127.0.0.1", 9000), ("0.0.0.0:80", "0.0.0.0", 80),
      ("node1.example:0", "node1.example", 0), ("[::1]:8090", "::1", 8090),
    ] {
      let config = try DashboardConfig(address: text)
      #expect(config.host == host && config.port == port, "\(text)")
    }
    for text in ["", "here", ":80", "a:b", "127.0.0.1:70000", "127.0.0.1:"] {
      let error = #expect(throws: (any Error).self) { try DashboardConfig(address: text) }
      #expect("\(error!)".contains("ADDRESS:PORT"), "\(text)")
    }
  }

  @Test("an address that others reach needs a token, which outlasts a restart")
  func othersNeedATokenThatLasts() throws {
    let run = try RunFiles()
    var (here, open, again) = (
      try DashboardConfig(address: "8090"), try DashboardConfig(address: "0.0.0.0:8090"),
      try DashboardConfig(address: "0.0.0.0:8091")
    )
    try here.protect(in: run.path)
    try open.protect(in: run.path)
    try again.protect(in: run.path)
    #expect(here.token == nil && open.token?.count == 32 && again.token == open.token)
    let attributes = try FileManager.default.attributesOfItem(atPath: "\(run.path)/dashboard.token")
    #expect(attributes[.posixPermissions] as? Int == 0o600)
  }
}

@Suite struct DashboardTests {
  private let run: RunFiles

  init() throws { run = try RunFiles() }

  /// Runs blocking work on a thread outside the cooperative pool.
  private static func aside<Value: Sendable>(_ work: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
      DispatchQueue.global().async { continuation.resume(with: Result(catching: work)) }
    }
  }

  private static func get(_ address: String) async throws -> (status: Int, text: String) {
    let (data, response) = try await URLSession.shared.data(from: URL(string: address)!)
    return ((response as! HTTPURLResponse).statusCode, String(decoding: data, as: UTF8.self))
  }

  @Test("the feed has a new version when the files of the run change")
  func theFeedFollowsTheFiles() async throws {
    let feed = DashboardFeed(folder: run.path)
    let empty = try #require(await feed.version(after: 0))
    #expect(empty.content.contains("Nothing has been measured yet"))
    #expect(await feed.version(after: empty.number) == nil)
    try run.put(steps: 3)
    await feed.end()  // which does not wait for the pause
    let first = try #require(await feed.version(after: empty.number))
    #expect(first.number == empty.number + 1 && first.content.contains("<data value=\"6.25\">"))
    #expect(await feed.version(after: first.number) == nil)
  }

  @Test("the page is rendered at most once in two hundred times its own duration")
  func renderingPauses() async throws {
    let feed = DashboardFeed(folder: run.path)
    let begun = ContinuousClock.now
    let first = try #require(await feed.version(after: 0))
    try run.put(steps: 1)
    let second = await feed.version(after: first.number)
    // because: at least a second after the first time
    #expect(second == nil || begun.duration(to: .now) >= .seconds(1))
  }

  /// Pages are served until the end, and the last events contain the last state of the run.
  @Test("the page and its events are served")
  func pageAndEventsAreServed() async throws {
    let page = Dashboard(folder: run.path, config: try DashboardConfig(address: "127.0.0.1:0"))
    let address = try await Self.aside { try page.start() }
    let document = try await Self.get(address)
    #expect(document.status == 200 && document.text.contains("EventSource('events'"))
    #expect(try await Self.get(address + "else").status == 404)
    let (path, port) = (run.path, UInt16(address.split(separator: ":").last!.dropLast())!)
    let text = try await Self.aside {
      let events = try Stream(port: port, path: "/events")
      events.read(until: "event: content")
      try RunFiles.put(steps: 2, in: path)
      page.stop()
      return events.read()
    }
    #expect(text.contains("Nothing has been measured yet"))
    #expect(text.contains("id: 2\nevent: content\ndata: ") && text.contains("<data value=\\\"5.25\\\">"))
    await #expect(throws: (any Error).self) { try await Self.get(address) }
  }

  @Test("a request without the token is refused")
  func tokenIsRequired() async throws {
    var config = try DashboardConfig(address: "127.0.0.1:0")
    config.token = "0123456789abcdef0123456789abcdef"
    let page = Dashboard(folder: run.path, config: config)
    let address = try await Self.aside { try page.start() }
    #expect(try await Self.get(address).status == 200)
    let bare = String(address.prefix { $0 != "?" })
    for wrong in ["", "?token=", "?token=0123456789abcdef0123456789abcdee", "events"] {
      #expect(try await Self.get(bare + wrong).status == 403, "\(wrong)")
    }
    try await Self.aside { page.stop() }
  }

  @Test("a connection whose request was refused before it was whole is closed when no other request comes")
  func refusedEarly() async throws {
    var config = try DashboardConfig(address: "127.0.0.1:0")
    config.idleSeconds = 1
    let page = Dashboard(folder: run.path, config: config)
    let address = try await Self.aside { try page.start() }
    let port = UInt16(address.split(separator: ":").last!.dropLast())!
    let isClosed = try await Self.aside {
      let refused = try Stream(port: port)
      try refused.write("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n")
      refused.read(until: "only GET is answered here\n")
      try refused.write("x")
      return refused.ends(within: 20)
    }
    #expect(isClosed)
    try await Self.aside { page.stop() }
  }

  @Test("a port that is in use is an error")
  func aPortThatIsTakenIsAnError() async throws {
    let first = Dashboard(folder: run.path, config: try DashboardConfig(address: "127.0.0.1:0"))
    let port = try await Self.aside { try first.start() }.split(separator: ":").last!.dropLast()
    let second = Dashboard(folder: run.path, config: try DashboardConfig(address: String(port)))
    let error = await #expect(throws: ServerError.self) { try await Self.aside { try second.start() } }
    #expect("\(error!)".contains("127.0.0.1:\(port)") && "\(error!)".contains("--dashboard"))
    try await Self.aside { first.stop() }
  }
}
