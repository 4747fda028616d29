import Foundation

/// Listings of folders.
package enum FileTree {
  package static func isFolder(_ path: String) -> Bool {
    var isFolder: ObjCBool = false
    return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) && isFolder.boolValue
  }

  package static func isFile(_ path: String) -> Bool {
    var isFolder: ObjCBool = false
    return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) && !isFolder.boolValue
  }

  /// Names in the folder, sorted.
  package static func entries(of folder: String) throws -> [String] {
    guard let handle = opendir(folder) else { throw LocatedError.system(path: folder, "list the folder") }
    closedir(handle)
    do {
      return try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
    } catch {
      throw LocatedError(path: folder, problem: "cannot list the folder: \(error.localizedDescription)")
    }
  }

  /// Paths of all files below the folder, relative to it, sorted.
  package static func files(under folder: String) throws -> [String] {
    try entries(of: folder).flatMap { entry in
      let path = "\(folder)/\(entry)"
      return isFolder(path) ? try files(under: path).map { "\(entry)/\($0)" } : [entry]
    }
  }

  /// The folder itself and all folders below it, deepest first.
  package static func folders(under folder: String) throws -> [String] {
    let inner = try entries(of: folder).map { "\(folder)/\($0)" }.filter(isFolder)
    return try inner.flatMap { try folders(under: $0) } + [folder]
  }

  /// Bytes of a file.
  package static func size(of path: String) throws -> Int {
    var info = stat()
    guard stat(path, &info) == 0 else { throw LocatedError.system(path: path, "read its size") }
    return Int(info.st_size)
  }

  package static func remove(_ path: String) throws {
    do {
      try FileManager.default.removeItem(atPath: path)
    } catch {
      throw LocatedError(path: path, problem: "cannot remove it: \(error.localizedDescription)")
    }
  }

  /// A whole small file.
  package static func read(_ path: String) throws -> Data {
    try MappedFile(path: path).withBytes { Data($0) }
  }
}
