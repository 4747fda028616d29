import Foundation

/// The address of a dashboard, and the token of its readers.
package struct DashboardConfig: Sendable, Equatable {
  /// The address of `--dashboard` without a value.
  package static let standard = "127.0.0.1:8090"

  package var host: String
  /// The port; 0 selects a free one.
  package var port: Int
  /// The token that the page's address must contain; nil allows every client that reaches the server.
  package var token: String?
  /// Seconds after which an idle connection is closed.
  package var idleSeconds = 60

  /// - Parameter address: `ADDRESS:PORT`, or a port that only this machine can reach; IPv6 addresses in brackets
  /// - Throws: `ServerError` for any other string
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

  /// Whether only this machine can reach the page.
  package var isLoopback: Bool { ServerConfig.isLoopback(host) }

  /// Requires a token if other machines can reach the page. The token is stored in the run's folder, readable only by
  /// its owner, so that an open page continues to work when the run is restarted.
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
    // Created with its final mode, so that other users can never read it.
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
