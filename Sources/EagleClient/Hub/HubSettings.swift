import EagleCore
import Foundation

/// The hub and the cache of models. The names of the environment variables are those of `huggingface_hub`.
package struct HubSettings: Sendable {
  /// `HF_ENDPOINT`, without a trailing slash.
  package var endpoint: URL
  /// `HF_TOKEN`, or the token that a login stored at `HF_TOKEN_PATH` or in the cache.
  package var token: String?
  /// `HF_HUB_CACHE`, or `hub` in `HF_HOME`.
  package var cache: String
  /// `HF_HUB_OFFLINE`: use only the cache.
  package var isOffline: Bool
  /// Few attempts, because the cache can replace a hub that does not answer.
  package var policy: RetryPolicy = {
    var policy = RetryPolicy()
    policy.attempts = 4
    return policy
  }()

  package init(endpoint: URL, token: String?, cache: String, isOffline: Bool) {
    (self.endpoint, self.token, self.cache, self.isOffline) = (endpoint, token, cache, isOffline)
  }

  /// - Throws: for an invalid endpoint URL, and for a token that is not valid in a header
  package init(environment: [String: String] = ProcessInfo.processInfo.environment) throws {
    func value(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
    func path(_ name: String) -> String? { value(name).map { NSString(string: $0).expandingTildeInPath } }
    var text = value("HF_ENDPOINT") ?? "https://huggingface.co"
    while text.hasSuffix("/") { text.removeLast() }
    if let complaint = ServerAddress.complaint(text) {
      throw LocatedError(path: "HF_ENDPOINT", problem: complaint, advice: "set it to the hub's base URL")
    }
    guard let url = URL(string: text) else {
      throw LocatedError(path: "HF_ENDPOINT", problem: "is no URL: \(text)", advice: "set it to the hub's base URL")
    }
    let home =
      path("HF_HOME") ?? (path("XDG_CACHE_HOME") ?? NSHomeDirectory() + "/.cache") + "/huggingface"
    let stored = try? String(contentsOfFile: path("HF_TOKEN_PATH") ?? home + "/token", encoding: .utf8)
    let token = (value("HF_TOKEN") ?? stored)?.trimmingCharacters(in: .whitespacesAndNewlines)
    guard token?.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) ?? true else {
      throw LocatedError(
        path: "HF_TOKEN", problem: "holds a space or a character that no HTTP header can hold",
        advice: "set it to the token alone")
    }
    let offline = value("HF_HUB_OFFLINE")?.lowercased()
    self.init(
      endpoint: url, token: token.flatMap { $0.isEmpty ? nil : $0 }, cache: path("HF_HUB_CACHE") ?? home + "/hub",
      isOffline: offline.map { ["1", "true", "yes", "on"].contains($0) } ?? false)
  }
}
