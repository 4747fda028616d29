import Foundation

/// Waiting for the disk, and renames that survive a power cut.
package enum DiskSync {
  /// Waits until the content of a file, or the entries of a folder, are on the disk.
  package static func sync(_ path: String) throws {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw LocatedError.system(path: path, "open for syncing") }
    defer { close(descriptor) }
    // Some network file systems cannot sync a folder and say EINVAL; their renames need none.
    guard fsync(descriptor) == 0 || errno == EINVAL else { throw LocatedError.system(path: path, "sync to disk") }
  }

  /// Renames `source` to `target` within one folder and makes the new name durable.
  package static func rename(_ source: String, to target: String) throws {
    guard Foundation.rename(source, target) == 0 else {
      throw LocatedError.system(path: target, "rename \(FilePath(source).name) to it")
    }
    try sync(FilePath(target).parent)
  }

  /// Creates a folder and the folders above it, and makes their names durable.
  package static func createFolder(_ path: String) throws {
    if mkdir(path, 0o777) == 0 { return try sync(FilePath(path).parent) }
    let code = errno
    if code == EEXIST && FileTree.isFolder(path) { return }
    guard code == ENOENT, FilePath(path).parent != path else {
      throw LocatedError.system(path: path, "create the folder", code: code)
    }
    try createFolder(FilePath(path).parent)
    guard mkdir(path, 0o777) == 0 || errno == EEXIST else {
      throw LocatedError.system(path: path, "create the folder")
    }
    try sync(FilePath(path).parent)
  }
}
