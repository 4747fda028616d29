import EagleCore
import Foundation
import Testing

/// A running `eagle-run serve` on a free port.
final class Served {
  let running: Running
  let port: UInt16

  convenience init(_ world: TinyWorld, _ flags: [String] = [], environment: [String: String] = [:]) throws {
    try self.init(target: world("target"), flags, in: world.path, environment: environment)
  }

  convenience init(
    target: String, _ flags: [String] = [], in folder: String = Command.root, environment: [String: String] = [:]
  ) throws {
    try self.init(
      "eagle-run", ["serve", "--target", target, "--port", "0"] + flags, in: folder, environment: environment)
  }

  /// - Parameter arguments: the arguments of a program that becomes a server on a free port
  init(_ program: String, _ arguments: [String], in folder: String, environment: [String: String]) throws {
    running = try Command.start(program, arguments, in: folder, environment: environment)
    let end = Date().addingTimeInterval(60)
    var port: UInt16?
    while port == nil, running.process.isRunning, Date() < end {
      port = running.errors.firstMatch(of: /http:\/\/127\.0\.0\.1:(\d+)\//).flatMap { UInt16($0.1) }
      usleep(2000)
    }
    self.port = try #require(port, "\(running.errors)")
  }

  deinit { if running.process.isRunning { running.process.terminate() } }

  func signal(_ number: Int32) { kill(running.process.processIdentifier, number) }

  func open(receiveBuffer: Int32? = nil) throws -> Connection {
    try Connection(port: port, receiveBuffer: receiveBuffer)
  }

  /// Sends a request on a connection of its own.
  func send(
    _ method: String, _ path: String, body: String? = nil, headers: [String: String] = [:],
    receiveBuffer: Int32? = nil
  ) throws -> Connection {
    let connection = try open(receiveBuffer: receiveBuffer)
    var head = "\(method) \(path) HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\nConnection: close\r\n"
    var fields = headers
    if let body {
      fields["Content-Type"] = fields["Content-Type"] ?? "application/json"
      fields["Content-Length"] = fields["Content-Length"] ?? "\(body.utf8.count)"
    }
    for (name, value) in fields { head += "\(name): \(value)\r\n" }
    connection.write(head + "\r\n" + (body ?? ""))
    return connection
  }

  func ask(
    _ method: String, _ path: String, body: String? = nil, headers: [String: String] = [:]
  ) throws -> HTTPAnswer {
    try send(method, path, body: body, headers: headers).answer()
  }

  /// The value of a metric.
  func metric(_ name: String) throws -> Int? {
    try ask("GET", "/metrics").text.split(separator: "\n").first { $0.hasPrefix(name + " ") }
      .flatMap { $0.split(separator: " ").last.flatMap { Int($0) } }
  }

  /// Waits until a metric has this value.
  func wait(for name: String, _ value: Int) throws -> Bool {
    let end = Date().addingTimeInterval(60)
    while Date() < end {
      if try metric(name) == value { return true }
      usleep(5000)
    }
    return false
  }
}

/// A plain TCP connection, on which the test reads and writes bytes.
final class Connection {
  private var socket: Int32
  private var received = Data()
  /// Whether the server has closed the connection; a read also ends after a minute without data.
  private(set) var isClosed = false

  /// - Parameter receiveBuffer: the bytes that the kernel buffers before the other side blocks
  init(port: UInt16, receiveBuffer: Int32? = nil) throws {
    socket = Foundation.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    if var size = receiveBuffer {
      setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size))
    }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    let status = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    if status != 0 { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
    var limit = timeval(tv_sec: 60, tv_usec: 0)
    setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
  }

  deinit { close() }

  func write(_ text: String) {
    let bytes = Array(text.utf8)
    var sent = 0
    while sent < bytes.count {
      let count = bytes[sent...].withUnsafeBytes {
        Foundation.send(socket, $0.baseAddress!, $0.count, Int32(MSG_NOSIGNAL))
      }
      if count <= 0 { return }
      sent += count
    }
  }

  /// Closes the sending side, but continues to read.
  func closeSending() { shutdown(socket, Int32(SHUT_WR)) }

  func close() {
    if socket >= 0 { Foundation.close(socket) }
    socket = -1
  }

  /// Reads until this text has arrived. False if the connection ends before.
  func read(until text: String) -> Bool {
    while received.range(of: Data(text.utf8)) == nil { if !readSome() { return false } }
    return true
  }

  /// Everything until the other side closes.
  func answer() throws -> HTTPAnswer {
    while readSome() {}
    return try HTTPAnswer(received)
  }

  private func readSome() -> Bool {
    var buffer = [UInt8](repeating: 0, count: 65536)
    let count = recv(socket, &buffer, buffer.count, 0)
    if count > 0 { received += buffer[..<count] }
    isClosed = count == 0
    return count > 0
  }
}

/// An HTTP response.
struct HTTPAnswer {
  let status: Int
  let headers: [String: String]
  let body: Data

  init(_ data: Data) throws {
    let border = try #require(
      data.range(of: Data("\r\n\r\n".utf8)), "no HTTP: \(String(decoding: data, as: UTF8.self))")
    if data.starts(with: Data("HTTP/1.1 100 ".utf8)) {
      // An interim response, which is skipped.
      self = try HTTPAnswer(Data(data[border.upperBound...]))
      return
    }
    let lines = String(decoding: data[..<border.lowerBound], as: UTF8.self).components(separatedBy: "\r\n")
    status = try #require(Int(lines[0].split(separator: " ")[1]))
    headers = Dictionary(
      lines.dropFirst().compactMap { line in
        line.firstIndex(of: ":").map {
          (line[..<$0].lowercased(), line[line.index(after: $0)...].trimmingCharacters(in: .whitespaces))
        }
      }, uniquingKeysWith: { $1 })
    let rest = Data(data[border.upperBound...])
    body = headers["transfer-encoding"] == "chunked" ? Self.joined(rest) : rest
  }

  /// The chunks of a body without their lengths.
  private static func joined(_ chunked: Data) -> Data {
    var (body, rest) = (Data(), chunked[...])
    while let end = rest.range(of: Data("\r\n".utf8)) {
      guard let length = Int(String(decoding: rest[..<end.lowerBound], as: UTF8.self), radix: 16), length > 0 else {
        break
      }
      body += rest[end.upperBound...].prefix(length)
      rest = rest[end.upperBound...].dropFirst(length + 2)
    }
    return body
  }

  var text: String { String(decoding: body, as: UTF8.self) }

  var json: [String: Any] { (try? JSONSerialization.jsonObject(with: body)) as? [String: Any] ?? [:] }

  var error: [String: Any]? { json["error"] as? [String: Any] }

  /// The content of a complete response.
  var content: String? {
    let choice = (json["choices"] as? [[String: Any]])?.first
    return (choice?["message"] as? [String: Any])?["content"] as? String ?? choice?["text"] as? String
  }

  /// The objects of a stream.
  var events: [[String: Any]] {
    text.components(separatedBy: "\n\n").filter { $0.hasPrefix("data: {") }.compactMap {
      (try? JSONSerialization.jsonObject(with: Data($0.dropFirst(6).utf8))) as? [String: Any]
    }
  }

  /// The content of a streamed response.
  var streamed: String {
    events.compactMap { event in
      let choice = (event["choices"] as? [[String: Any]])?.first
      return (choice?["delta"] as? [String: Any])?["content"] as? String ?? choice?["text"] as? String
    }.joined()
  }
}
