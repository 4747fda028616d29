import Foundation
import Hummingbird

/// Who may ask.
package struct AccessRules: Sendable {
  private let apiKey: [UInt8]?
  /// Host names under which the server may be addressed; nil allows all.
  private let hosts: [String]?

  package init(_ config: ServerConfig) {
    apiKey = config.apiKey.map { Array($0.utf8) }
    // A page of a foreign name that resolves to this machine must not reach a server that trusts everyone here.
    hosts = config.isLoopback && config.apiKey == nil ? [config.host, "localhost"] : nil
  }

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
    guard let hosts else { return }
    let name = Self.hostName(authority ?? "")
    guard name.isEmpty || hosts.contains(name) || ServerConfig.isLoopback(name) else {
      throw APIError.invalid(
        "this server answers under a local name only, not \(name)", code: "wrong_host", status: 403)
    }
  }

  /// JSON alone: a browser sends it to a foreign server only after asking, and this one never agrees.
  package static func checkContentType(_ type: String?) throws {
    let kind = type?.split(separator: ";").first?.trimmingCharacters(in: .whitespaces).lowercased()
    guard kind == "application/json" else {
      throw APIError.invalid("send the header Content-Type: application/json", code: "wrong_content_type")
    }
  }

  /// Takes as long for a key that is wrong in its first byte as for one that is wrong in its last.
  package static func isEqual(_ given: [UInt8], _ key: [UInt8]) -> Bool {
    var difference: UInt8 = given.count == key.count ? 0 : 1
    for (i, byte) in given.enumerated() { difference |= byte ^ key[i % key.count] }
    return difference == 0
  }

  private static func hostName(_ authority: String) -> String {
    if authority.hasPrefix("[") { return String(authority.prefix { $0 != "]" }) + "]" }
    return String(authority.prefix { $0 != ":" })
  }
}
