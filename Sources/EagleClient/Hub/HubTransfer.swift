import EagleCore
import Foundation

/// Downloads a model's files from the hub into the cache.
struct HubTransfer: Sendable {
  let hub: ModelHub
  let name: HubName
  let commit: String
  let client: HubClient
  let say: @Sendable (String) -> Void

  /// The index of a model's weight files, if it has several.
  static let index = "model.safetensors.index.json"

  private func fault(_ problem: String, _ advice: String) -> LocatedError {
    LocatedError(path: "\(name)", problem: problem, advice: advice)
  }

  /// The files that a name selects. Fetches the index of a folder's weights.
  ///
  /// - Throws: `LocatedError` for a repository without them
  func wanted(_ files: [HubFile]) async throws -> [HubFile] {
    let gguf = files.map(\.path).filter { $0.hasSuffix(".gguf") }
    let known = gguf.isEmpty ? "it has none" : "it has \(gguf.prefix(12).joined(separator: ", "))"
    switch name.part {
    case .folder: return try await folder(files, hasGGUF: !gguf.isEmpty, known)
    case .file(let path):
      return try model(path, files, known)
    case .type(let type):
      guard let path = HubName.only(type, of: files.map(\.path)) else {
        throw fault(
          "the repository has not one GGUF file of type \(type)",
          "name a file, \(name.repository)/FILE.gguf; \(known)")
      }
      return try model(path, files, known)
    }
  }

  /// All files of a GGUF model, the first one first.
  private func model(_ path: String, _ files: [HubFile], _ known: String) throws -> [HubFile] {
    try HubName.files(of: path).map { path in
      if let file = files.first(where: { $0.path == path }) { return file }
      throw fault("the repository has no file \(path)", "name a GGUF file; \(known)")
    }
  }

  /// The text files of a folder, and its weights: the files of its index, or else model.safetensors.
  private func folder(_ files: [HubFile], hasGGUF: Bool, _ known: String) async throws -> [HubFile] {
    let top = files.filter { !$0.path.contains("/") }
    func file(_ path: String) -> HubFile? { top.first { $0.path == path } }
    guard file("config.json") != nil else {
      throw fault("the repository has no config.json", hasGGUF ? "name a GGUF file; \(known)" : "name another model")
    }
    let texts = top.filter { file in
      [".json", ".jinja", ".model", ".txt"].contains { file.path.hasSuffix($0) }
    }
    var weights = [file("model.safetensors")].compactMap { $0 }
    if let index = file(Self.index) {
      try await fetch([index])
      let list = FileManager.default.contents(atPath: "\(hub.snapshot(name, commit))/\(Self.index)")
      guard let names = list.flatMap({ Self.shards(Array($0)) }) else {
        throw fault("\(Self.index) of the repository lists no files", "name another model")
      }
      weights = try names.sorted().map { path in
        if let file = file(path) { return file }
        throw fault("\(Self.index) lists \(path), which the repository does not have", "name another model")
      }
    }
    guard !weights.isEmpty else {
      throw fault("the repository has no safetensors", "convert the weights, or name another model")
    }
    return texts + weights
  }

  /// The files that an index of weights names; nil for any other content.
  static func shards(_ bytes: [UInt8]) -> Set<String>? {
    guard let map = (try? JSON.read(bytes))?.object?["weight_map"]?.object else { return nil }
    let names = Set(map.entries.compactMap { $0.value.string })
    return names.isEmpty || names.contains { $0.contains("/") } ? nil : names
  }

  /// Downloads missing files and links them into the snapshot.
  func fetch(_ files: [HubFile]) async throws {
    let snapshot = hub.snapshot(name, commit)
    func isMissing(_ file: HubFile) -> Bool { !FileTree.isFile("\(snapshot)/\(file.path)") }
    // A complete cache is not written to, since it may be read-only.
    guard files.contains(where: isMissing) else { return }
    let lock = try await HubLock(hub.repositoryFolder(name), say, check: client.check)
    defer { withExtendedLifetime(lock) {} }
    let missing = files.filter(isMissing)
    let progress = HubProgress(name: "\(name)", total: missing.reduce(0) { $0 + $1.size }, say)
    for file in missing {
      try await fetch(file, progress)
      try link(file, snapshot)
    }
    progress.end()
  }

  private func fetch(_ file: HubFile, _ progress: HubProgress) async throws {
    let blobs = "\(hub.repositoryFolder(name))/blobs"
    try DiskSync.createFolder(blobs)
    let (blob, part) = ("\(blobs)/\(file.digest.text)", "\(blobs)/\(file.digest.text).eagle.incomplete")
    if Disk.size(of: blob) == file.size { return progress.add(file.size) }
    if let free = Disk.freeBytes(at: blobs), Double(file.size - (Disk.size(of: part) ?? 0)) > free {
      throw LocatedError(
        path: blobs,
        problem: "\(file.path) has \(Format.bytes(Double(file.size))), the disk \(Format.bytes(free)) free",
        advice: "set HF_HUB_CACHE to a folder on another disk")
    }
    let path = file.path.addingPercentEncoding(withAllowedCharacters: .urlPathAllowed) ?? file.path
    // A partial file with other content is detected by its digest, and the download is repeated once.
    for attempt in 1...2 {
      do {
        try await client.download("/\(name.repository)/resolve/\(commit)/\(path)", to: part, size: file.size) {
          progress.note($0)
        }
        if try file.matches(part) { break }
      } catch HubClient.Failure.status(416, let reason) {
        if attempt == 2 { throw HubClient.Failure.status(416, reason) }
      }
      try? FileManager.default.removeItem(atPath: part)
      if attempt == 2 { throw HubClient.Failure.odd("\(file.path) has another digest than it lists") }
    }
    try DiskSync.sync(part)
    try DiskSync.rename(part, to: blob)
    progress.add(file.size)
  }

  /// Creates a symbolic link with a relative path, as Hugging Face's own tools do.
  private func link(_ file: HubFile, _ snapshot: String) throws {
    let path = "\(snapshot)/\(file.path)"
    let depth = file.path.split(separator: "/").count + 1
    try DiskSync.createFolder(URL(fileURLWithPath: path).deletingLastPathComponent().path)
    let target = String(repeating: "../", count: depth) + "blobs/\(file.digest.text)"
    if (try? FileManager.default.destinationOfSymbolicLink(atPath: path)) != nil { unlink(path) }
    guard symlink(target, path) == 0 || errno == EEXIST else { throw LocatedError.system(path: path, "make the link") }
  }
}
