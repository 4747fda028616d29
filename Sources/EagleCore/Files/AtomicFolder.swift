import Foundation

/// Folders that exist whole or not at all: filled under `.<name>.tmp-<process>`, synced, renamed.
package enum AtomicFolder {
  /// Lets `body` fill a new folder, whose path it gets, and then gives the folder its name.
  ///
  /// An existing empty folder at `path` is replaced, a filled one only if `replacing`. If `body` throws, nothing is
  /// left.
  package static func write(path: String, replacing: Bool = false, _ body: (String) throws -> Void) throws {
    let temporary = FilePath(path).temporary
    try DiskSync.createFolder(FilePath(path).parent)
    FilePath(path).removeLeftovers()
    do {
      try DiskSync.createFolder(temporary)
      try body(temporary)
      try sync(temporary)
      try install(temporary, at: path, replacing: replacing)
    } catch {
      try? FileManager.default.removeItem(atPath: temporary)
      throw error
    }
  }

  /// Moves a finished folder to a path next to it, where it replaces what is there.
  package static func install(_ folder: String, at path: String) throws {
    try sync(folder)
    try install(folder, at: path, replacing: true)
  }

  /// Throws when replacing or removing the folder would take away what is no part of it.
  ///
  /// - Parameters:
  ///   - path: the folder; one that is missing or empty passes
  ///   - what: the content's name in the message, such as "an exported head"
  ///   - isPart: whether an entry of this name belongs to such a folder; what a killed write of such an entry has left
  ///     passes as well
  package static func requireOnly(_ what: String, in path: String, isPart: (String) -> Bool) throws {
    guard FileTree.isFolder(path) else { return }
    let entries = try FileTree.entries(of: path)
    guard let other = entries.first(where: { !isPart(FilePath.target(ofTemporary: $0) ?? $0) }) else { return }
    throw LocatedError(
      path: path, problem: "holds `\(other)`, which is no part of \(what) and would be lost",
      advice: "choose another folder, or move what is in this one elsewhere")
  }

  private static func sync(_ folder: String) throws {
    for file in try FileTree.files(under: folder) { try DiskSync.sync("\(folder)/\(file)") }
    for inner in try FileTree.folders(under: folder) { try DiskSync.sync(inner) }
  }

  /// rename(2) replaces an empty folder, never a filled one: that one is set aside first.
  private static func install(_ temporary: String, at path: String, replacing: Bool) throws {
    guard FileTree.isFolder(path), try !FileTree.entries(of: path).isEmpty else {
      return try DiskSync.rename(temporary, to: path)
    }
    guard replacing else {
      throw LocatedError(path: path, problem: "the folder exists and is not empty", advice: "choose another one")
    }
    let target = FilePath(path)
    let aside = FilePath("\(target.parent)/\(target.name).old").temporary
    try DiskSync.rename(path, to: aside)
    try DiskSync.rename(temporary, to: path)
    // The new folder is whole and has its name: what stays of the old one costs space, and the next write tries again.
    try? FileTree.remove(aside)
  }

  /// Removes a folder so that no half of it is ever seen under its name.
  package static func remove(_ path: String) throws {
    let aside = FilePath(path).temporary
    try DiskSync.rename(path, to: aside)
    try FileTree.remove(aside)
  }
}
