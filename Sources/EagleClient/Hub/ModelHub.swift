import EagleCore
import Foundation

/// Models by name, from a hub that speaks Hugging Face's protocol, in a cache with the layout of its own tools, so that
/// programs share cached files.
///
/// ```
/// models--ORG--MODEL/refs/main             the commit that the name means
/// models--ORG--MODEL/blobs/DIGEST          a file; DIGEST.eagle.incomplete while it comes
/// models--ORG--MODEL/snapshots/COMMIT/…    links to blobs, under the files' names
/// ```
/// A file gets its final name only after its digest was verified.
package struct ModelHub: Sendable {
  /// The location of a model.
  package struct Place: Sendable, Equatable {
    /// The folder or file.
    package let path: String
    /// The commit that the name meant.
    package let commit: String
  }

  let settings: HubSettings
  private let say: @Sendable (String) -> Void
  private let check: @Sendable () throws -> Void

  /// - Parameters:
  ///   - settings: the hub and the cache
  ///   - say: called with a line of output
  ///   - check: called during a download; an error that it throws ends the download and keeps the partial file
  package init(
    _ settings: HubSettings, say: @escaping @Sendable (String) -> Void,
    check: @escaping @Sendable () throws -> Void = {}
  ) {
    (self.settings, self.say, self.check) = (settings, say, check)
  }

  /// The locations that this process has resolved: a name refers to the same commit until the process ends.
  private static let found = FoundPlaces()

  /// The folder or file of a model: `text` itself if it is not the name of a model.
  ///
  /// - Throws: `LocatedError` for a model that the hub does not have or does not grant access to, and for one that
  ///   cannot be fetched and is not in the cache
  package static func path(for text: String, say: @escaping @Sendable (String) -> Void) throws -> String {
    guard let name = HubName(text) else { return text }
    return try found.place(of: text) { try ModelHub(HubSettings(), say: say).place(of: name) }.path
  }

  /// The location of a model on this machine. Missing files are fetched.
  ///
  /// - Throws: as `path(for:say:)`
  package func place(of name: HubName) throws -> Place {
    if settings.isOffline { return try cached(name, because: "HF_HUB_OFFLINE is set") }
    if let place = name.isPinned ? whole(name, name.revision) : nil { return place }
    do {
      return try Blocking.run { await fetched(name) }.get()
    } catch HubClient.Failure.passing(let reason, _) {
      let place = try cached(name, because: "\(settings.endpoint): \(reason)")
      say("\(name): \(settings.endpoint): \(reason); what is in the cache is used")
      return place
    } catch let failure as HubClient.Failure {
      throw located(failure, name)
    }
  }

  private func fetched(_ name: HubName) async -> Result<Place, any Error> {
    let client = HubClient(settings, check: check)
    let result: Result<Place, any Error>
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

  private func fetch(_ name: HubName, _ client: HubClient) async throws -> Place {
    let commit = try await commit(of: name, client)
    let transfer = HubTransfer(hub: self, name: name, commit: commit, client: client, say: say)
    let wanted = try await transfer.wanted(try await HubFile.list(client, name.repository, commit))
    try await transfer.fetch(wanted)
    // A failure is ignored, because the cache may be read-only.
    try? note(commit, name)
    let snapshot = snapshot(name, commit)
    if case .folder = name.part { return Place(path: snapshot, commit: commit) }
    return Place(path: "\(snapshot)/\(wanted[0].path)", commit: commit)
  }

  private func commit(of name: HubName, _ client: HubClient) async throws -> String {
    if name.isPinned { return name.revision }
    let (info, _) = try await client.list("/api/models/\(name.repository)/revision/\(name.revision)")
    guard let sha = info.object?["sha"]?.string, HubName.isCommit(sha) else {
      throw HubClient.Failure.odd("it does not say the model's commit")
    }
    return sha
  }

  private func note(_ commit: String, _ name: HubName) throws {
    guard !name.isPinned else { return }
    let folder = "\(repositoryFolder(name))/refs"
    try DiskSync.createFolder(folder)
    try AtomicFile.write(path: "\(folder)/\(name.revision)", data: Data(commit.utf8))
  }

  // MARK: the cache

  func repositoryFolder(_ name: HubName) -> String {
    "\(settings.cache)/models--\(name.repository.replacingOccurrences(of: "/", with: "--"))"
  }

  func snapshot(_ name: HubName, _ commit: String) -> String { "\(repositoryFolder(name))/snapshots/\(commit)" }

  /// The cached files of a commit, if they are complete.
  private func whole(_ name: HubName, _ commit: String) -> Place? {
    let snapshot = snapshot(name, commit)
    func model(_ path: String) -> String? {
      let files = HubName.files(of: path).map { "\(snapshot)/\($0)" }
      return files.allSatisfy(FileTree.isFile) ? files[0] : nil
    }
    let path: String? =
      switch name.part {
      case .folder: Self.isWhole(snapshot) ? snapshot : nil
      case .file(let file): model(file)
      case .type(let type):
        HubName.only(type, of: (try? FileManager.default.subpathsOfDirectory(atPath: snapshot)) ?? []).flatMap(model)
      }
    return path.map { Place(path: $0, commit: commit) }
  }

  /// Whether a folder has its configuration and all weights that it names. Other tools may have fetched only the
  /// configuration.
  private static func isWhole(_ folder: String) -> Bool {
    guard FileTree.isFile("\(folder)/config.json") else { return false }
    if let index = FileManager.default.contents(atPath: "\(folder)/\(HubTransfer.index)") {
      guard let names = HubTransfer.shards(Array(index)) else { return false }
      return names.allSatisfy { FileTree.isFile("\(folder)/\($0)") }
    }
    return FileTree.isFile("\(folder)/model.safetensors")
  }

  /// The cached files of a name.
  private func cached(_ name: HubName, because reason: String) throws -> Place {
    let noted = try? String(contentsOfFile: "\(repositoryFolder(name))/refs/\(name.revision)", encoding: .utf8)
    let commit = noted?.trimmingCharacters(in: .whitespacesAndNewlines) ?? name.revision
    if let place = whole(name, commit) { return place }
    throw LocatedError(
      path: "\(name)",
      problem: "is no folder or file here, not whole in the cache \(settings.cache), and cannot be fetched: \(reason)",
      advice: "name a folder or file on this machine, or make the hub reachable")
  }
}

/// Locations by the names that were resolved to them.
private final class FoundPlaces: @unchecked Sendable {
  private let lock = NSLock()
  private var places: [String: ModelHub.Place] = [:]

  func place(of text: String, _ find: () throws -> ModelHub.Place) throws -> ModelHub.Place {
    if let known = lock.withLock({ places[text] }) { return known }
    let place = try find()
    lock.withLock { places[text] = place }
    return place
  }
}

/// A file lock that allows only one process at a time to fetch a model, if the file system supports locks; other
/// processes wait.
struct HubLock: Sendable {
  private let lock: FileLock

  /// - Parameter check: called while another process has the lock; an error that it throws ends the wait
  init(_ folder: String, _ say: @Sendable (String) -> Void, check: @Sendable () throws -> Void) async throws {
    let locks = URL(fileURLWithPath: folder).deletingLastPathComponent().path + "/.locks"
    try DiskSync.createFolder(locks)
    lock = try FileLock("\(locks)/\(URL(fileURLWithPath: folder).lastPathComponent).eagle.lock")
    var hasSaid = false
    while !lock.take() {
      if !hasSaid { say("another process fetches this model; waiting for it") }
      hasSaid = true
      try check()
      try await Task.sleep(nanoseconds: 200_000_000)
    }
  }
}
