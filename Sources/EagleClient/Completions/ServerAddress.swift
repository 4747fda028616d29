import Foundation

/// The base URL of a server that speaks OpenAI's API, `http://host:8000` or `http://host:8000/v1`.
package struct ServerAddress: Sendable, Equatable, CustomStringConvertible {
  /// The URL without `/v1` and without a trailing slash.
  private let base: String

  /// The reason why a string is not a valid base URL; nil if it is valid.
  ///
  /// A key belongs in the environment: a URL with a user name or a password is rejected.
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
