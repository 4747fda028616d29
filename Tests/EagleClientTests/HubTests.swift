import EagleClient
import EagleCore
import Foundation
import ScriptedServer
import Synchronization
import Testing

/// Models by name, from a hub on this machine.
@Suite struct HubTests {
  private final class Cache {
    let path = NSTemporaryDirectory() + "/eagle-hub-" + UUID().uuidString
    deinit { try? FileManager.default.removeItem(atPath: path) }
  }

  private static let weights = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
  private static let files: [String: [UInt8]] = [
    "config.json": Array("{}".utf8), "tokenizer.json": Array("{\"a\": 1}".utf8), "model.safetensors": weights,
    "README.md": Array("nothing for us".utf8), "onnx/model.onnx": weights, "tiny-Q4_K_M.gguf": weights.reversed(),
    "tiny-Q8_0.gguf": weights + [1],
  ]
  private let cache = Cache()

  private func hub(
    _ url: String, token: String? = nil, offline: Bool = false, firstDelay: Double = 0.01
  ) throws -> ModelHub {
    var settings = HubSettings(
      endpoint: try #require(URL(string: url)), token: token, cache: cache.path, isOffline: offline)
    settings.policy.longestDelay = firstDelay
    (settings.policy.attempts, settings.policy.firstDelay) = (3, firstDelay)
    return ModelHub(settings) { _ in }
  }

  private func name(_ text: String = "org/tiny") throws -> HubName { try #require(HubName(text)) }

  private func bytes(_ path: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: path))) }

  private func message(_ body: () throws -> Void) throws -> String {
    "\(try #require(#expect(throws: LocatedError.self) { try body() }))"
  }

  @Test("a folder has what a model needs, in the layout of the hub's own tools, and is fetched once")
  func folders() throws {
    let server = try ScriptedHub("org/tiny", files: Self.files)
    let path = try hub(server.url, token: "secret").place(of: name()).path
    #expect(path == "\(cache.path)/models--org--tiny/snapshots/\(ScriptedHub.commit)")
    #expect(try FileTree.entries(of: path).sorted() == ["config.json", "model.safetensors", "tokenizer.json"])
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
      #expect(try bytes("\(path)/\(file)") == Self.files[file])
    }
    let link = try FileManager.default.destinationOfSymbolicLink(atPath: "\(path)/config.json")
    #expect(link.hasPrefix("../../blobs/"))
    #expect(try bytes("\(cache.path)/models--org--tiny/refs/main") == Array(ScriptedHub.commit.utf8))
    // The token is sent only to the hub.
    for request in server.requests {
      let isHub = request.headers["host"]?.hasPrefix("127.0.0.1") == true
      #expect(request.headers["authorization"] == (isHub ? "Bearer secret" : nil), "\(request.path)")
    }
    let before = server.requests.count
    #expect(try hub(server.url).place(of: name()).path == path)
    #expect(server.requests.dropFirst(before).allSatisfy { $0.path.hasPrefix("/api/") })
    #expect(try hub(ScriptedServer.unusedURL()).place(of: name()).path == path)
    #expect(try hub(server.url, offline: true).place(of: name()).path == path)
  }

  @Test("a download that breaks off goes on where it was, in this start and in the next")
  func interruptedDownloads() throws {
    let count = Mutex(0)
    let server = try ScriptedHub("org/tiny", files: Self.files) { request in
      guard request.path.hasSuffix("elsewhere/model.safetensors") else { return nil }
      let number = count.withLock { count in
        count += 1
        return count
      }
      guard case .file(let status, let headers, let bytes, _) = ScriptedHub.part(of: Self.weights, request), number <= 8
      else { return nil }
      return .file(status: status, headers: headers, bytes, cutAt: number < 8 ? 10_000 : 0)
    }
    #expect(try hub(server.url).place(of: name()).path.hasSuffix(ScriptedHub.commit))
    let ranges = server.requests.filter { $0.path.hasSuffix("elsewhere/model.safetensors") }.map { $0.headers["range"] }
    #expect(ranges[0] == nil && ranges.dropFirst().allSatisfy { $0?.hasPrefix("bytes=") == true })
    // Seven attempts made progress, and the eighth made none.
    #expect(ranges.count == 9)
  }

  @Test("a file with another digest is not kept, and a part that is none of the file is fetched anew")
  func digests() throws {
    let wrong = try ScriptedHub("org/tiny", files: Self.files) { request in
      request.path.hasSuffix("elsewhere/model.safetensors") ? .file([UInt8](repeating: 7, count: 300_000)) : nil
    }
    let text = try message { _ = try hub(wrong.url).place(of: name()).path }
    #expect(text.contains("model.safetensors has another digest than it lists"))
    #expect(
      try message { _ = try hub(wrong.url, offline: true).place(of: name()).path }.contains("not whole in the cache"))
    let blobs = "\(cache.path)/models--org--tiny/blobs"
    #expect(try FileTree.entries(of: blobs).allSatisfy { !$0.hasSuffix(".incomplete") })
    // Half of another content, as of an older version of the file.
    let server = try ScriptedHub("org/tiny", files: Self.files)
    let path = try hub(server.url).place(of: name()).path
    let blob = URL(fileURLWithPath: "\(path)/model.safetensors").resolvingSymlinksInPath().path
    try FileManager.default.removeItem(atPath: "\(path)/model.safetensors")
    try FileManager.default.moveItem(atPath: blob, toPath: blob + ".eagle.incomplete")
    let part = try #require(FileHandle(forWritingAtPath: blob + ".eagle.incomplete"))
    try part.truncate(atOffset: 1000)
    try part.write(contentsOf: Data("x".utf8))
    try part.close()
    #expect(try bytes("\(try hub(server.url).place(of: name()).path)/model.safetensors") == Self.weights)
  }

  @Test("GGUF files by name and by type") func ggufFiles() throws {
    let server = try ScriptedHub("org/tiny", files: Self.files)
    let hub = try hub(server.url)
    #expect(try bytes(hub.place(of: name("org/tiny:q8_0")).path) == Self.files["tiny-Q8_0.gguf"])
    let path = try hub.place(of: name("org/tiny/tiny-Q4_K_M.gguf")).path
    #expect(path.hasSuffix("/tiny-Q4_K_M.gguf"))
    #expect(
      try message { _ = try hub.place(of: name("org/tiny:Q5")).path }.contains("not one GGUF file of type Q5"))
    #expect(try message { _ = try hub.place(of: name("org/tiny:Q")).path }.contains("not one GGUF file of type Q"))
    #expect(
      try message { _ = try hub.place(of: name("org/tiny/other.gguf")).path }.contains(
        "it has tiny-Q4_K_M.gguf, tiny-Q8_0.gguf"))
    let bare = try ScriptedHub("org/bare", files: ["tiny-Q8_0.gguf": Self.weights])
    #expect(
      try message { _ = try self.hub(bare.url).place(of: name("org/bare")).path }
        .contains("the repository has no config.json; name a GGUF file; it has tiny-Q8_0.gguf"))
  }

  @Test("refusals say what to do") func refusals() throws {
    let closed = try ScriptedHub("org/tiny", files: Self.files) { _ in .error(401, "no access") }
    let text = try message { _ = try hub(closed.url).place(of: name()).path }
    #expect(text.contains("HTTP 401: no access") && text.contains("set HF_TOKEN"))
    #expect(
      try message { _ = try hub(closed.url, token: "t").place(of: name()).path }.contains("accept the model's terms"))
    let server = try ScriptedHub("org/tiny", files: Self.files)
    #expect(try message { _ = try hub(server.url).place(of: name("org/none")).path }.contains("HTTP 404"))
    let none = try message { _ = try hub(ScriptedServer.unusedURL()).place(of: name()).path }
    #expect(none.contains("org/tiny: is no folder or file here, not whole in the cache"))
    #expect(
      try message { _ = try hub(server.url, offline: true).place(of: name()).path }.contains("HF_HUB_OFFLINE is set"))
    let busy = try ScriptedHub("org/tiny", files: Self.files) { $0.number < 2 ? .error(503, "busy") : nil }
    #expect(try hub(busy.url).place(of: name()).path.hasSuffix(ScriptedHub.commit))
  }

  @Test("the delay before the next attempt is the hub's", .timeLimit(.minutes(1))) func retryAfter() throws {
    let server = try ScriptedHub("org/tiny", files: Self.files) {
      $0.number < 1 ? .error(429, "busy", headers: ["Retry-After": "0"]) : nil
    }
    #expect(try hub(server.url, firstDelay: 7200).place(of: name()).path.hasSuffix(ScriptedHub.commit))
  }

  @Test("weights are those of the index, types are whole words, subfolders count") func selections() throws {
    let index = #"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#
    var files = Self.files
    files["model.safetensors"] = nil
    files["model.safetensors.index.json"] = Array(index.utf8)
    files["model-1.safetensors"] = Self.weights
    files["model-2.safetensors"] = Self.weights + [2]
    files["consolidated.safetensors"] = Self.weights + [3]
    files["gguf/tiny-BF16.gguf"] = Self.weights + [4]
    let server = try ScriptedHub("org/tiny", files: files)
    let place = try hub(server.url).place(of: name())
    #expect(
      try FileTree.entries(of: place.path).sorted() == [
        "config.json", "model-1.safetensors", "model-2.safetensors", "model.safetensors.index.json", "tokenizer.json",
      ])
    let typed = try hub(server.url).place(of: name("org/tiny:bf16"))
    #expect(typed.path.hasSuffix("/gguf/tiny-BF16.gguf"))
    let pinned = try #require(try name("org/tiny:bf16").pinned(to: typed))
    #expect(pinned.description == "org/tiny/gguf/tiny-BF16.gguf@\(ScriptedHub.commit)")
    #expect(try bytes(hub(server.url, offline: true).place(of: pinned).path) == Self.weights + [4])
    #expect(throws: LocatedError.self) { try hub(server.url, offline: true).place(of: name("org/tiny:F16")) }
    // The files of other tools: only the configuration, or one of two weight files.
    try FileManager.default.removeItem(atPath: "\(place.path)/model-2.safetensors")
    #expect(
      try message { _ = try hub(server.url, offline: true).place(of: name()) }.contains("not whole in the cache"))
    #expect(try hub(server.url).place(of: name()) == place)
    #expect(FileManager.default.fileExists(atPath: "\(place.path)/model-2.safetensors"))
    files["model-2.safetensors"] = nil
    let broken = try ScriptedHub("org/broken", files: files)
    #expect(
      try message { _ = try hub(broken.url).place(of: name("org/broken")) }
        .contains("lists model-2.safetensors, which the repository does not have"))
  }

  @Test("a split GGUF model comes with all its parts, and is not whole without one") func splitModels() throws {
    let parts = (1...3).map { "q/tiny-Q8_0-0000\($0)-of-00003.gguf" }
    let files = Dictionary(uniqueKeysWithValues: parts.enumerated().map { ($1, Self.weights + [UInt8($0)]) })
    let server = try ScriptedHub("org/split", files: files)
    let place = try hub(server.url).place(of: name("org/split:Q8_0"))
    #expect(place.path.hasSuffix("/\(parts[0])"))
    let snapshot = String(place.path.dropLast(parts[0].count))
    for part in parts { #expect(try bytes(snapshot + part) == files[part]) }
    #expect(try hub(server.url).place(of: name("org/split/\(parts[1])")) == place)
    // A link to a removed blob.
    let blob = URL(fileURLWithPath: snapshot + parts[2]).resolvingSymlinksInPath().path
    try FileManager.default.removeItem(atPath: blob)
    #expect(
      try message { _ = try hub(server.url, offline: true).place(of: name("org/split:Q8_0")) }
        .contains("not whole in the cache"))
    #expect(try hub(server.url).place(of: name("org/split:Q8_0")) == place)
    #expect(try bytes(snapshot + parts[2]) == files[parts[2]])
  }

  @Test("a list whose next page lies elsewhere is not taken for whole; a stop ends a download") func oddLists() throws {
    let elsewhere = try ScriptedHub("org/tiny", files: Self.files) { request in
      guard request.path.contains("/tree/") else { return nil }
      return .response(
        status: 200, headers: ["Link": "<https://other.example/next>; rel=\"next\""], body: "[]")
    }
    #expect(
      try message { _ = try hub(elsewhere.url).place(of: name()) }.contains("next page of its list lies elsewhere"))
    let server = try ScriptedHub("org/tiny", files: Self.files)
    let settings = HubSettings(
      endpoint: try #require(URL(string: server.url)), token: nil, cache: cache.path, isOffline: false)
    let stopped = ModelHub(settings) { _ in
    } check: {
      throw LocatedError(path: "stop", problem: "asked for")
    }
    #expect(try message { _ = try stopped.place(of: name()) } == "stop: asked for")
    #expect(try hub(server.url).place(of: name()).path.hasSuffix(ScriptedHub.commit))
  }

  @Test("a hub cannot write outside its cache") func hostilePaths() throws {
    var files = Self.files
    files["../../../../evil.json"] = Array("{}".utf8)
    files["a/../../evil.json"] = Array("{}".utf8)
    let server = try ScriptedHub("org/tiny", files: files)
    let path = try hub(server.url).place(of: name()).path
    #expect(try FileTree.entries(of: path).count == 3)
    let evil = try FileManager.default.subpathsOfDirectory(atPath: cache.path).filter { $0.contains("evil") }
    #expect(evil.isEmpty)
  }

  @Test(
    "what is a name, and what is a path",
    arguments: [
      ("Qwen/Qwen3-4B", "Qwen/Qwen3-4B", "main"), ("a/b@v1.0", "a/b", "v1.0"), ("a/b:Q4_K_M", "a/b", "main"),
      ("a/b/c/d.gguf@x", "a/b", "x"),
    ])
  func names(text: String, repository: String, revision: String) throws {
    let name = try name(text)
    #expect(name.repository == repository && name.revision == revision)
  }

  @Test(
    "text that is not ORG/MODEL is no hub name",
    arguments: ["model", "./a/b", "/a/b", "~/a/b", "a//b", "a/..", "a/b/c", "a/b/c.bin", "a b/c", "tmp/../x", ""])
  func paths(text: String) { #expect(HubName(text) == nil) }

  @Test("settings come from the environment of the hub's own tools") func environment() throws {
    let settings = try HubSettings(environment: [
      "HF_ENDPOINT": "http://hub:1/", "HF_TOKEN": " t\n", "HF_HOME": "/home/h",
    ])
    #expect(settings.endpoint.absoluteString == "http://hub:1" && settings.token == "t")
    #expect(settings.cache == "/home/h/hub" && !settings.isOffline)
    let other = try HubSettings(environment: ["HF_HUB_CACHE": "/c", "HF_HUB_OFFLINE": "1", "HF_HOME": "/none"])
    #expect(other.cache == "/c" && other.isOffline && other.token == nil)
    #expect(other.endpoint.absoluteString == "https://huggingface.co")
    #expect(
      try message { _ = try HubSettings(environment: ["HF_ENDPOINT": "hub"]) }.contains("HF_ENDPOINT: must be a URL"))
    #expect(try message { _ = try HubSettings(environment: ["HF_TOKEN": "a b"]) }.contains("HF_TOKEN: holds a space"))
  }
}
