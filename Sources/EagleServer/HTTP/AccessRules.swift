import Foundation
import Hummingbird

/// Who may ask.
package struct AccessRules: Sendable {
  private let apiKey: [UInt8]?
  /// Under which names the server may be addressed; nil allows all.
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

  /// JSON alone: a browser sends it to a foreign server only after asking, and this one agrees for the origins of its
  /// settings alone. Who has sent the key is no page of somebody else, and may leave the type out (`curl -d`).
  package func checkContentType(_ type: String?) throws {
    if hasKey { return }
    let kind = type?.split(separator: ";").first?.trimmingCharacters(in: .whitespaces).lowercased()
    guard kind == "application/json" else {
      throw APIError.invalid("send the header Content-Type: application/json", code: "wrong_content_type")
    }
  }

  /// Takes as long for a key that is wrong in its first byte as for one that is wrong in its last.
  package static func isEqual(_ given: [UInt8], _ key: [UInt8]) -> Bool {
    // An empty key is no key that anybody could know.
    if key.isEmpty { return false }
    var difference: UInt8 = given.count == key.count ? 0 : 1
    for (i, byte) in given.enumerated() { difference |= byte ^ key[i % key.count] }
    return difference == 0
  }
}

/// The names of a server that trusts everyone on this machine. A page of a foreign name that resolves to this machine
/// must not reach it.
struct LocalNames: Sendable {
  let host: String

  /// The name in the Host of a request, with or without port, when it is not one of them.
  func foreignName(in authority: String?) -> String? {
    let name = Self.hostName(authority ?? "")
    return name.isEmpty || [host.lowercased(), "localhost"].contains(name) || ServerConfig.isLoopback(name) ? nil : name
  }

  private static func hostName(_ authority: String) -> String {
    if authority.hasPrefix("[") { return String(authority.prefix { $0 != "]" }).lowercased() + "]" }
    // Names have no case, and a full stop at their end says that they are whole.
    let name = authority.prefix { $0 != ":" }.lowercased()
    return name.count > 1 && name.hasSuffix(".") ? String(name.dropLast()) : name
  }
}
