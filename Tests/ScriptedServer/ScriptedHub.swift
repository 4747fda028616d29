import Crypto
import EagleCore
import Foundation
import Synchronization

/// A hub with one model and Hugging Face's protocol, on this machine.
package final class ScriptedHub: Sendable {
  package static let commit = String(repeating: "0a", count: 20)
  private let server: ScriptedServer

  package var url: String { server.url }
  package var requests: [ScriptedServer.Request] { server.requests }

  /// - Parameters:
  ///   - repository: `ORG/MODEL`
  ///   - files: the files by path; those of more than 1,000 bytes are served by another host
  ///   - fault: a reply instead of the right one, by request
  package init(
    _ repository: String, files: [String: [UInt8]],
    fault: @escaping @Sendable (ScriptedServer.Request) -> ScriptedServer.Reply? = { _ in nil }
  ) throws {
    let base = Mutex("")
    let server = try ScriptedServer { request in
      if let reply = fault(request) { return reply }
      return Self.reply(request, repository, files, base: base.withLock { $0 })
    }
    self.server = server
    base.withLock { $0 = server.url.replacingOccurrences(of: "127.0.0.1", with: "localhost") }
  }

  private static func reply(
    _ request: ScriptedServer.Request, _ repository: String, _ files: [String: [UInt8]], base: String
  ) -> ScriptedServer.Reply {
    if request.path.hasPrefix("/api/models/\(repository)/revision/main") { return .ok(["sha": .string(commit)]) }
    let tree = "/api/models/\(repository)/tree/\(commit)?recursive=true"
    if request.path.hasPrefix(tree) { return list(files, tree, page: request.path.hasSuffix("&page=2")) }
    let (hub, host) = ("/\(repository)/resolve/\(commit)/", "/elsewhere/")
    if request.path.hasPrefix(hub), let bytes = files[String(request.path.dropFirst(hub.count))] {
      guard isLarge(bytes) else { return .file(bytes) }
      return .response(
        status: 302, headers: ["Location": "\(base)\(host)\(request.path.dropFirst(hub.count))"], body: "")
    }
    if request.path.hasPrefix(host), let bytes = files[String(request.path.dropFirst(host.count))] {
      return part(of: bytes, request)
    }
    return .response(status: 404, body: "{\"error\": \"Repository not found\"}")
  }

  /// The bytes of the requested range, or all.
  package static func part(of bytes: [UInt8], _ request: ScriptedServer.Request) -> ScriptedServer.Reply {
    let start = request.headers["range"].flatMap { Int($0.dropFirst("bytes=".count).dropLast()) }
    guard let start else { return .file(bytes) }
    return start < bytes.count ? .file(status: 206, Array(bytes[start...])) : .response(status: 416, body: "")
  }

  private static func isLarge(_ bytes: [UInt8]) -> Bool { bytes.count > 1000 }

  /// The list of files, with the first one on a page of its own.
  private static func list(_ files: [String: [UInt8]], _ tree: String, page second: Bool) -> ScriptedServer.Reply {
    let all = files.sorted { $0.key < $1.key }.map { path, bytes -> JSON in
      var entry: [String: JSON] = [
        "type": "file", "path": .string(path), "size": JSON(bytes.count), "oid": .string(gitDigest(bytes)),
      ]
      if isLarge(bytes) {
        let digest = SHA256.hash(data: bytes).map { String(format: "%02x", $0) }.joined()
        entry["lfs"] = ["oid": .string(digest), "size": JSON(bytes.count)]
      }
      return .object(JSON.Object(entry.map { ($0.key, $0.value) }))
    }
    let shown = JSON.array(second ? Array(all.dropFirst()) : Array(all.prefix(1)))
    let headers = second ? [:] : ["Link": "<\(tree)&page=2>; rel=\"next\""]
    return .response(status: 200, headers: headers, body: shown.text())
  }

  private static func gitDigest(_ bytes: [UInt8]) -> String {
    var hash = Insecure.SHA1()
    hash.update(data: Data("blob \(bytes.count)\0".utf8))
    hash.update(data: Data(bytes))
    return hash.finalize().map { String(format: "%02x", $0) }.joined()
  }
}
