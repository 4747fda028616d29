import EagleCore
import Foundation

/// Models by name, from a hub that speaks Hugging Face's protocol, in a cache of the layout that its own tools use: what is
/// there is not fetched again, by whichever program.
///
/// ```
/// models--ORG--MODEL/refs/main             the commit that the name means
/// models--ORG--MODEL/blobs/DIGEST          a file; DIGEST.incomplete while it comes
/// models--ORG--MODEL/snapshots/COMMIT/…    links to blobs, under the files' names
/// ```
/// A file gets its place once its digest is right. The link that a reader looks for first is made last.
package struct ModelHub: Sendable {
  private let settings: HubSettings
  private let say: @Sendable (String) -> Void

  /// - Parameters:
  ///   - settings: the hub and the cache
  ///   - say: called with a line for people
  package init(_ settings: HubSettings, say: @escaping @Sendable (String) -> Void) {
    (self.settings, self.say) = (settings, say)
  }

  /// The folder or file of a model: `text` itself where it is no name of one.
  ///
  /// - Throws: `LocatedError` for a model that the hub does not have, does not give out, or that cannot be fetched and is
  ///   not in the cache
  package static func path(for text: String, say: @escaping @Sendable (String) -> Void) throws -> String {
    guard let name = HubName(text) else { return text }
    return try ModelHub(HubSettings(), say: say).path(of: name)
  }

  /// The folder or file of a model on this machine, fetched where it is missing.
  ///
  /// - Throws: as `path(for:say:)`
  package func path(of name: HubName) throws -> String {
    if settings.isOffline { return try cached(name, because: "HF_HUB_OFFLINE is set") }
    let lock = try HubLock(repositoryFolder(name), say)
    defer { withExtendedLifetime(lock) {} }
    let outcome = Blocking.run { await fetched(name) }
    do {
      return try outcome.get()
    } catch HubClient.Failure.passing(let reason) {
      let path = try cached(name, because: "\(settings.endpoint): \(reason)")
      say("\(name): \(settings.endpoint): \(reason); what is in the cache is used")
      return path
    } catch let failure as HubClient.Failure {
      throw located(failure, name)
    }
  }

  private func fetched(_ name: HubName) async -> Result<String, any Error> {
    let client = HubClient(settings)
    let result: Result<String, any Error>
    do { result = .success(try await fetch(name, client)) } catch { result = .failure(error) }
    await client.close()
    return result
  }

  private func located(_ failure: HubClient.Failure, _ name: HubName) -> LocatedError {
    let advice =
      switch failure {
      case .status(401, _), .status(403, _):
        settings.token == nil
          ? "set HF_TOKEN to a token that may read it" : "accept the model's terms on its page, or use another HF_TOKEN"
      case .status(404, _): "check the name; a folder on this machine is named by its path, ./\(name) for one"
      default: "try again later, or set HF_ENDPOINT to another hub"
      }
    return LocatedError(
      path: "\(name)", problem: "cannot be fetched from \(settings.endpoint): \(failure.reason)", advice: advice)
  }

  // MARK: fetching

  private func fetch(_ name: HubName, _ client: HubClient) async throws -> String {
    let commit = try await commit(of: name, client)
    let files = try await files(of: name, commit, client)
    let wanted = try wanted(files, name)
    let snapshot = "\(repositoryFolder(name))/snapshots/\(commit)"
    let missing = wanted.filter { !FileTree.isFile("\(snapshot)/\($0.path)") }
    let progress = HubProgress(name: "\(name)", total: missing.reduce(0) { $0 + $1.size }, say)
    for file in missing {
      try await fetch(file, of: name, commit, client, progress)
      try link(file, name, snapshot)
    }
    try note(commit, name)
    if !missing.isEmpty { progress.end() }
    if case .folder = name.part { return snapshot }
    return "\(snapshot)/\(wanted[0].path)"
  }

  private func commit(of name: HubName, _ client: HubClient) async throws -> String {
    let (info, _) = try await client.list("/api/models/\(name.repository)/revision/\(name.revision)")
    guard let sha = info.object?["sha"]?.string, sha.utf8.count == 40, sha.allSatisfy(\.isHexDigit) else {
      throw HubClient.Failure.odd("it does not say the model's commit")
    }
    return sha
  }

  private func files(of name: HubName, _ commit: String, _ client: HubClient) async throws -> [HubFile] {
    var (files, next) = ([HubFile](), Optional("/api/models/\(name.repository)/tree/\(commit)?recursive=true"))
    while let page = next {
      let (list, more) = try await client.list(page)
      guard let entries = list.array else { throw HubClient.Failure.odd("it gives no list of files") }
      files += entries.compactMap(HubFile.init)
      next = more
    }
    return files
  }

  /// The files of a name, config.json last, since it says that a folder is there.
  private func wanted(_ files: [HubFile], _ name: HubName) throws -> [HubFile] {
    func fault(_ problem: String, _ advice: String) -> LocatedError {
      LocatedError(path: "\(name)", problem: problem, advice: advice)
    }
    let gguf = files.map(\.path).filter { $0.hasSuffix(".gguf") }
    let known = gguf.isEmpty ? "it has none" : "it has \(gguf.prefix(12).joined(separator: ", "))"
    switch name.part {
    case .folder:
      let folder = files.filter { file in
        !file.path.contains("/")
          && [".json", ".jinja", ".safetensors", ".model", ".txt"].contains { file.path.hasSuffix($0) }
      }
      guard folder.contains(where: { $0.path == "config.json" }) else {
        throw fault(
          "the repository has no config.json", gguf.isEmpty ? "name another model" : "name a GGUF file; \(known)")
      }
      guard folder.contains(where: { $0.path.hasSuffix(".safetensors") }) else {
        throw fault("the repository has no safetensors", "convert the weights, or name another model")
      }
      return folder.filter { $0.path != "config.json" } + folder.filter { $0.path == "config.json" }
    case .file(let path):
      guard let file = files.first(where: { $0.path == path }) else {
        throw fault("the repository has no file \(path)", "name a GGUF file; \(known)")
      }
      return [file]
    case .type(let type):
      let found = files.filter { file in
        file.path.hasSuffix(".gguf") && file.path.lowercased().contains(type.lowercased())
      }
      guard found.count == 1 else {
        throw fault(
          "\(found.count) GGUF files of the repository have \(type) in their names",
          "name one file, \(name.repository)/FILE.gguf; \(known)")
      }
      return found
    }
  }

  private func fetch(
    _ file: HubFile, of name: HubName, _ commit: String, _ client: HubClient, _ progress: HubProgress
  ) async throws {
    let blobs = "\(repositoryFolder(name))/blobs"
    try DiskSync.createFolder(blobs)
    let (blob, part) = ("\(blobs)/\(file.digest.text)", "\(blobs)/\(file.digest.text).incomplete")
    if FileTree.isFile(blob) { return progress.add(file.size) }
    let free = Disk.free(at: blobs)
    guard free == 0 || Double(file.size - (Disk.size(of: part) ?? 0)) < free else {
      throw LocatedError(
        path: blobs,
        problem: "\(file.path) has \(Format.bytes(Double(file.size))), the disk \(Format.bytes(free)) free",
        advice: "set HF_HUB_CACHE to a folder on another disk")
    }
    let allowed = CharacterSet.urlPathAllowed
    let path = file.path.addingPercentEncoding(withAllowedCharacters: allowed) ?? file.path
    // A part of something else is noticed by its digest, and fetched anew once.
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
    guard rename(part, blob) == 0 else { throw LocatedError.system(path: blob, "name the file") }
    progress.add(file.size)
  }

  /// A link with a relative path, as the hub's own tools make it.
  private func link(_ file: HubFile, _ name: HubName, _ snapshot: String) throws {
    let path = "\(snapshot)/\(file.path)"
    let depth = file.path.split(separator: "/").count + 1
    try DiskSync.createFolder(URL(fileURLWithPath: path).deletingLastPathComponent().path)
    let target = String(repeating: "../", count: depth) + "blobs/\(file.digest.text)"
    guard symlink(target, path) == 0 || errno == EEXIST else { throw LocatedError.system(path: path, "make the link") }
  }

  private func note(_ commit: String, _ name: HubName) throws {
    let folder = "\(repositoryFolder(name))/refs"
    try DiskSync.createFolder(folder)
    try AtomicFile.write(path: "\(folder)/\(name.revision)", data: Data(commit.utf8))
  }

  // MARK: the cache

  private func repositoryFolder(_ name: HubName) -> String {
    "\(settings.cache)/models--\(name.repository.replacingOccurrences(of: "/", with: "--"))"
  }

  /// What the cache has of a name.
  private func cached(_ name: HubName, because reason: String) throws -> String {
    let folder = repositoryFolder(name)
    let noted = try? String(contentsOfFile: "\(folder)/refs/\(name.revision)", encoding: .utf8)
    let commit = noted?.trimmingCharacters(in: .whitespacesAndNewlines) ?? name.revision
    let snapshot = "\(folder)/snapshots/\(commit)"
    let path: String? =
      switch name.part {
      case .folder: FileTree.isFile("\(snapshot)/config.json") ? snapshot : nil
      case .file(let file): FileTree.isFile("\(snapshot)/\(file)") ? "\(snapshot)/\(file)" : nil
      case .type(let type):
        (try? FileTree.entries(of: snapshot))?.first {
          $0.hasSuffix(".gguf") && $0.lowercased().contains(type.lowercased())
        }.map { "\(snapshot)/\($0)" }
      }
    if let path { return path }
    throw LocatedError(
      path: "\(name)",
      problem: "is no folder or file here, not in the cache \(settings.cache), and cannot be fetched: \(reason)",
      advice: "name a folder or file on this machine, or make the hub reachable")
  }
}

/// One process fetches a model at a time; others wait for it.
private final class HubLock {
  private let descriptor: Int32

  init(_ folder: String, _ say: (String) -> Void) throws {
    let locks = URL(fileURLWithPath: folder).deletingLastPathComponent().path + "/.locks"
    try DiskSync.createFolder(locks)
    let path = "\(locks)/\(URL(fileURLWithPath: folder).lastPathComponent).lock"
    descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw LocatedError.system(path: path, "create the file") }
    // A network file system without locks says so; then processes cannot be told apart.
    guard flock(descriptor, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK else { return }
    say("another process fetches this model; waiting for it")
    while flock(descriptor, LOCK_EX) != 0, errno == EINTR {}
  }

  deinit { close(descriptor) }
}
