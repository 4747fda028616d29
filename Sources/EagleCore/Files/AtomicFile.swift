import Foundation

/// Files that exist whole or not at all: written under a temporary name next to the target, synced, renamed.
///
/// One writer per path: two processes that write the same path at once leave one of the two contents, whole.
package enum AtomicFile {
  /// Replaces the file at `path`: after a failure the old one is still there, whole.
  package static func write(path: String, data: Data) throws {
    try write(path: path) { try $0.write(data) }
  }

  /// Writes what `body` puts into the file. If it throws, the target is as it was and nothing else is left.
  package static func write(path: String, _ body: (OutputFile) throws -> Void) throws {
    let temporary = FilePath(path).temporary
    FilePath(path).removeLeftovers()
    do {
      let file = try OutputFile(path: temporary)
      try body(file)
      try file.finish()
      try DiskSync.rename(temporary, to: path)
    } catch {
      unlink(temporary)
      throw error
    }
  }
}
