import EagleCore
import Foundation

/// A checkpoint whose files have all been verified.
package struct Checkpoint: Sendable, Equatable {
  /// The folder.
  package let path: String
  /// Its name, for example `step-00000123`.
  package let name: String
  /// What the writer passed as `info`.
  package let info: Data

  /// The step in the name; nil for other names.
  package var step: Int? { CheckpointFolder.step(of: name) }

  package func path(of file: String) -> String { "\(path)/\(file)" }
}

/// Checkpoint folders: `step-00000123` next to `latest`, each with a manifest of checksums written last.
package enum CheckpointFolder {
  private static let manifestName = "manifest.json"
  private static let infoName = "info.json"
  private static let format = "eagle-checkpoint"

  /// `step-` and at least eight digits.
  package static func name(step: Int) -> String {
    let digits = String(step)
    return "step-" + String(repeating: "0", count: max(0, 8 - digits.count)) + digits
  }

  static func step(of name: String) -> Int? {
    guard name.hasPrefix("step-") else { return nil }
    let digits = name.dropFirst(5)
    return digits.allSatisfy { $0.isASCII && $0.isNumber } ? Int(digits) : nil
  }

  /// Writes a checkpoint, whole or not at all, and points `latest` at it.
  ///
  /// - Parameters:
  ///   - parent: the folder of the run; made when missing.
  ///   - name: the checkpoint's name; an older one of this name is replaced.
  ///   - info: stored as `info.json`.
  ///   - files: puts files into the folder whose path it gets.
  package static func write(parent: String, name: String, info: Data, files: (String) throws -> Void) throws {
    try DiskSync.createFolder(parent)
    removeLeftovers(in: parent)
    let path = "\(parent)/\(name)"
    if !isCheckpoint(path) { try AtomicFolder.requireOnly("a checkpoint of this program", in: path) { _ in false } }
    try AtomicFolder.write(path: path, replacing: true) { folder in
      try files(folder)
      try AtomicFile.write(path: "\(folder)/\(infoName)", data: info)
      try FolderManifest.seal(folder, as: manifestName, format: format)
    }
    try point("latest", to: name, in: parent)
  }

  /// Opens a checkpoint and verifies the size and checksum of every file.
  package static func open(_ path: String) throws -> Checkpoint {
    guard FileTree.isFolder(path) else {
      throw LocatedError(path: path, problem: "there is no such checkpoint folder", advice: "check the path")
    }
    try FolderManifest(folder: path, name: manifestName, format: format).verify(path)
    return Checkpoint(path: path, name: FilePath(path).name, info: try FileTree.read("\(path)/\(infoName)"))
  }

  /// The info of the newest checkpoint that seems whole, by the sizes of its files and the checksum of its info: quick.
  /// Nil when there is none.
  package static func newestInfo(in parent: String) throws -> (path: String, info: Data)? {
    for name in try names(in: parent).reversed() {
      let path = "\(parent)/\(name)"
      guard let manifest = try? FolderManifest(folder: path, name: manifestName, format: format),
        (try? manifest.verify(path, only: infoName)) != nil, let info = try? FileTree.read("\(path)/\(infoName)")
      else { continue }
      return (path, info)
    }
    return nil
  }

  /// The newest checkpoint that is valid; `report` is called for each one that was skipped, with the reason. Nil when
  /// there is none.
  package static func newestValid(in parent: String, report: (String) -> Void) throws -> Checkpoint? {
    for name in try names(in: parent).reversed() {
      do {
        return try open("\(parent)/\(name)")
      } catch let error as LocatedError {
        report("checkpoint \(name) is not valid and is passed over: \(error)")
      }
    }
    return nil
  }

  /// Names of the step folders, oldest first; whether they are valid is another question. A folder of such a name that
  /// another program has made is not among them, and so is never removed.
  package static func names(in parent: String) throws -> [String] {
    guard FileTree.isFolder(parent) else { return [] }
    let found = try FileTree.entries(of: parent).compactMap { name in step(of: name).map { (step: $0, name: name) } }
    return found.filter { isCheckpoint("\(parent)/\($0.name)") }.sorted { $0.step < $1.step }.map(\.name)
  }

  /// Removes all but the newest `count` complete checkpoints and those named in `also`. What `latest` names stays.
  ///
  /// - Returns: what could not be removed, and why: it costs space, not correctness, and the next call tries again
  @discardableResult
  package static func prune(in parent: String, keep count: Int, also: Set<String> = []) throws -> [any Error] {
    try prune(in: parent, keep: count, also: also, remove: AtomicFolder.remove)
  }

  /// The same with another way to remove a folder.
  package static func prune(
    in parent: String, keep count: Int, also: Set<String>, remove: (String) throws -> Void
  ) throws -> [any Error] {
    removeLeftovers(in: parent)
    let names = try names(in: parent)
    var kept = also
    kept.formUnion(names.filter { isComplete("\(parent)/\($0)") }.suffix(max(count, 0)))
    if let latest = try target(of: "latest", in: parent) { kept.insert(latest) }
    var failures: [any Error] = []
    for name in names where !kept.contains(name) {
      do { try remove("\(parent)/\(name)") } catch { failures.append(error) }
    }
    return failures
  }

  /// Removes the checkpoints of steps after `step`. `latest` then names the newest that is left, and so does `best`
  /// where it named one of those: their weights are the same.
  package static func remove(after step: Int, in parent: String) throws {
    let names = try names(in: parent)
    let later = names.filter { (Self.step(of: $0) ?? 0) > step }
    guard let newest = names.last(where: { !later.contains($0) }) else { return }
    try point("latest", to: newest, in: parent)
    if let best = try target(of: "best", in: parent), later.contains(best) { try point("best", to: newest, in: parent) }
    for name in later { try AtomicFolder.remove("\(parent)/\(name)") }
  }

  /// Writes a small text file, such as `latest` or `best`, that holds a checkpoint's name.
  package static func point(_ pointer: String, to name: String, in parent: String) throws {
    try AtomicFile.write(path: "\(parent)/\(pointer)", data: Data("\(name)\n".utf8))
  }

  /// The name that a pointer holds; nil when there is no such pointer.
  package static func target(of pointer: String, in parent: String) throws -> String? {
    let path = "\(parent)/\(pointer)"
    guard FileTree.isFile(path) else { return nil }
    let name = String(decoding: try FileTree.read(path), as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
    return name.isEmpty ? nil : name
  }

  /// Whether this program has made the folder: then it has a manifest of this format or an info, though they may be
  /// damaged.
  private static func isCheckpoint(_ path: String) -> Bool {
    let manifest = "\(path)/\(manifestName)"
    return FileTree.isFile(manifest)
      ? !FolderManifest.isForeign(manifest, format: format) : FileTree.isFile("\(path)/\(infoName)")
  }

  private static func isComplete(_ path: String) -> Bool {
    (try? FolderManifest(folder: path, name: manifestName, format: format).checkSizes(in: path)) != nil
  }

  /// Mends what a kill may have left of a run's folder: temporary files of any name, and a `latest` that names an older
  /// checkpoint than the newest valid one. Nothing else of this process may write there meanwhile.
  ///
  /// - Parameter newest: name of the newest valid checkpoint; nil when there is none
  package static func mend(_ parent: String, newest: String?) throws {
    FilePath.removeLeftovers(in: parent) { _ in true }
    if let newest, try target(of: "latest", in: parent) != newest { try point("latest", to: newest, in: parent) }
  }

  /// Removes what a killed process has left of checkpoints that it was writing or removing.
  package static func removeLeftovers(in parent: String) {
    FilePath.removeLeftovers(in: parent) { $0.hasPrefix(".step-") }
  }
}
