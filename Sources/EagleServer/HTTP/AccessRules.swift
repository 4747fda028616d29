import Foundation
import Hummingbird

/// The rules that decide whether a request is allowed.
package struct AccessRules: Sendable {
  private let apiKey: [UInt8]?
  /// The host names under which clients may address the server; nil allows all.
  private let names: LocalNames?

  package init(_ config: ServerConfig) {
    apiKey = config.apiKey.map { Array($0.utf8) }
    names = config.isLoopback && config.apiKey == nil ? LocalNames(host: config.host) : nil
  }

  package var hasKey: Bool { apiKey != nil }

  /// - Throws: `APIError` without the key
  package func checkKey(_ authorization: String?) throws {
    guard let apiKey else { return }
    let scheme = "bearer "
    guard let authorization, authorization.lowercased().hasPrefix(scheme) else { throw APIError.wrongKey }
    guard Self.isEqual(Array(authorization.utf8.dropFirst(scheme.utf8.count)), apiKey) else { throw APIError.wrongKey }
  }

  /// - Parameter authority: the Host of the request, with or without port
  /// - Throws: `APIError` for a foreign name
  package func checkHost(_ authority: String?) throws {
    guard let names, let name = names.foreignName(in: authority) else { return }
    throw APIError.invalid(
      "this server answers under a local name only, not \(name)", code: "wrong_host", status: 403)
  }

  /// Accepts only JSON. A browser sends JSON to another origin only after a CORS preflight, which this server grants
  /// only to the configured origins. With an API key, a request cannot come from a foreign page, so the type may be
  /// missing (`curl -d`).
  package func checkContentType(_ type: String?) throws {
    if hasKey { return }
    let kind = type?.split(separator: ";").first?.trimmingCharacters(in: .whitespaces).lowercased()
    guard kind == "application/json" else {
      throw APIError.invalid("send the header Content-Type: application/json", code: "wrong_content_type")
    }
  }

  /// Compares in constant time: the position of the first wrong byte does not change the duration.
  package static func isEqual(_ given: [UInt8], _ key: [UInt8]) -> Bool {
    // No client may authenticate with an empty key.
    if key.isEmpty { return false }
    var difference: UInt8 = given.count == key.count ? 0 : 1
    for (i, byte) in given.enumerated() { difference |= byte ^ key[i % key.count] }
    return difference == 0
  }
}

/// The host names of a server that trusts every local client. They prevent DNS rebinding: a page of a foreign name that
/// resolves to this machine must not reach the server.
struct LocalNames: Sendable {
  let host: String

  /// The name in the Host field of a request, with or without port, if it is none of the local names.
  func foreignName(in authority: String?) -> String? {
    let name = Self.hostName(authority ?? "")
    return name.isEmpty || [host.lowercased(), "localhost"].contains(name) || ServerConfig.isLoopback(name) ? nil : name
  }

  private static func hostName(_ authority: String) -> String {
    if authority.hasPrefix("[") { return String(authority.prefix { $0 != "]" }).lowercased() + "]" }
    // Host names are case-insensitive, and a trailing full stop marks an absolute name.
    let name = authority.prefix { $0 != ":" }.lowercased()
    return name.count > 1 && name.hasSuffix(".") ? String(name.dropLast()) : name
  }
}
