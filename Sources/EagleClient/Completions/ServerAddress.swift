import Foundation

/// The base URL of a server that speaks OpenAI's API, `http://host:8000` or `http://host:8000/v1`.
package struct ServerAddress: Sendable, Equatable, CustomStringConvertible {
  /// The URL without `/v1` and without a slash at its end.
  private let base: String

  /// Why a text is no base URL; nil when it is one.
  ///
  /// A key belongs in the environment: a URL that carries a name or a password is refused.
  package static func complaint(_ text: String) -> String? {
    guard let parts = URLComponents(string: text), let host = parts.host, !host.isEmpty,
      ["http", "https"].contains(parts.scheme?.lowercased() ?? "")
    else { return "must be a URL such as http://127.0.0.1:8000, not '\(text.prefix(80))'" }
    if parts.user != nil || parts.password != nil { return "must not hold a name or a password" }
    if parts.query != nil || parts.fragment != nil { return "must end with the path: there is a '?' or a '#' in it" }
    return nil
  }

  /// - Parameter text: a URL without `complaint`
  package init(_ text: String) {
    precondition(Self.complaint(text) == nil, "'\(text)' is no base URL")
    var base = Substring(text)
    while base.hasSuffix("/") { base = base.dropLast() }
    if base.hasSuffix("/v1") { base = base.dropLast(3) }
    while base.hasSuffix("/") { base = base.dropLast() }
    self.base = String(base)
  }

  package var description: String { base }

  /// The URL of an endpoint.
  func url(of endpoint: CompletionClient.Endpoint) -> String { "\(base)\(endpoint.rawValue)" }
}
