import EagleCore
import Foundation

/// An HDF5 file under construction: it gets its name when it is committed, and is removed when it never is.
final class HDF5Draft {
  let file: HDF5File
  private let path: String
  private let temporary: String
  private var isCommitted = false

  /// Creates the file under a temporary name. What a killed writer of `path` has left stays: who writes many files
  /// into a folder removes leftovers once.
  init(path: String) throws {
    self.path = path
    temporary = FilePath(path).temporary
    file = try HDF5File(creating: temporary)
  }

  deinit {
    if !isCommitted { unlink(temporary) }
  }

  /// Marks the file complete, in that order: content on its way to the disk, mark, close, sync, rename.
  func commit() throws {
    try file.flush()
    try file.setAttribute("complete", 1)
    try file.close()
    try DiskSync.sync(temporary)
    try DiskSync.rename(temporary, to: path)
    isCommitted = true
  }
}
