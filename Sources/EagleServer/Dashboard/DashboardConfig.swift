import Foundation

/// The address of a dashboard, and the token of its readers.
package struct DashboardConfig: Sendable, Equatable {
  /// The address of `--dashboard` where it names none.
  package static let standard = "127.0.0.1:8090"

  package var host: String
  /// 0 takes a free one.
  package var port: Int
  /// What the page's address must carry; nil lets everyone in who reaches the server.
  package var token: String?
  /// Seconds after which a connection is closed on which no request comes.
  package var idleSeconds = 60

  /// - Parameter address: `ADDRESS:PORT`, or a port of this machine alone; IPv6 addresses in brackets
  /// - Throws: `ServerError` for what is neither
  package init(address: String) throws {
    let colon = address.lastIndex(of: ":")
    let number = colon.map { address[address.index(after: $0)...] } ?? address[...]
    let name = colon.map { String(address[..<$0]) } ?? "127.0.0.1"
    guard let port = Int(number), (0...65535).contains(port), !name.isEmpty else {
      throw ServerError(
        "\(address): is no address for a dashboard: write ADDRESS:PORT or PORT, for example \(Self.standard)")
    }
    host = name.hasPrefix("[") && name.hasSuffix("]") ? String(name.dropFirst().dropLast()) : name
    self.port = port
  }

  /// Whether only this machine reaches the page.
  package var isLoopback: Bool { ServerConfig.isLoopback(host) }

  /// Demands a token where others reach the page. It is kept in the run's folder, readable by its owner alone, so that
  /// a page which is open goes on when the run is started again.
  package mutating func protect(in folder: String) throws {
    guard !isLoopback else { return }
    let path = "\(folder)/dashboard.token"
    if let kept = FileManager.default.contents(atPath: path).map({ String(decoding: $0, as: UTF8.self) }),
      kept.wholeMatch(of: #/[0-9a-f]{32}\n/#) != nil, chmod(path, 0o600) == 0
    {
      token = String(kept.dropLast())
      return
    }
    var random = SystemRandomNumberGenerator()
    let made = (0..<4).map { _ in String(format: "%08x", UInt32.random(in: 0...(.max), using: &random)) }.joined()
    // Made with its mode, so that there is no moment in which others can read it.
    unlink(path)
    let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    defer { close(file) }
    let line = Array("\(made)\n".utf8)
    guard file >= 0, write(file, line, line.count) == line.count else {
      throw ServerError("\(path): cannot be written: the dashboard's token belongs there")
    }
    token = made
  }
}
