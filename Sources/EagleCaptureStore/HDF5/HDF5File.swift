import CHDF5
import EagleCore
import Foundation

/// An HDF5 file.
final class HDF5File: @unchecked Sendable {
  let path: String
  private(set) var id: hid_t
  /// Set when writing has failed: the library crashes when such a file is closed, so it stays open until the
  /// process ends.
  private(set) var isBroken = false

  /// Opens a file for reading.
  init(reading path: String) throws {
    guard access(path, R_OK) == 0 else { throw LocatedError.system(path: path, "open the file") }
    try HDF5HeapCheck.check(path)
    self.path = path
    id = try HDF5.with(path) { library in
      try library.check(H5Fopen(path, eagle_h5_read_only(), try Self.accessList(library)), "open it as an HDF5 file")
    }
  }

  /// Opens a file to change what is in it.
  init(updating path: String) throws {
    guard access(path, R_OK | W_OK) == 0 else { throw LocatedError.system(path: path, "open the file for writing") }
    try HDF5HeapCheck.check(path)
    self.path = path
    id = try HDF5.with(path) { library in
      try library.check(H5Fopen(path, eagle_h5_read_write(), try Self.accessList(library)), "open it for writing")
    }
  }

  /// Creates a file, or empties an existing one.
  init(creating path: String) throws {
    self.path = path
    id = try HDF5.with(path) { library in
      let access = try Self.accessList(library)
      let id = H5Fcreate(path, eagle_h5_truncate(), eagle_h5_default_list(), access)
      return try library.check(id, "create the HDF5 file")
    }
  }

  deinit {
    if id >= 0, !isBroken { HDF5.with(path) { _ in _ = H5Fclose(id) } }
  }

  /// Without file locks: cluster file systems often have none, and files here are renamed when complete; only loss
  /// masks are changed later, by one rank, before others open the file. In the format of HDF5 1.10, whose structures
  /// all have checksums: in older formats one wrong byte outside the data can crash the library.
  private static func accessList(_ library: HDF5) throws -> hid_t {
    let list = try library.keep(H5Pcreate(eagle_h5_file_access()), "make a property list") { H5Pclose($0) }
    try library.check(H5Pset_file_locking(list, false, true), "switch file locking off")
    try library.check(H5Pset_libver_bounds(list, H5F_LIBVER_V110, H5F_LIBVER_V110), "choose the file format")
    return list
  }

  /// Runs calls that may write to the disk.
  func writing<Result>(_ body: (HDF5) throws -> Result) throws -> Result {
    do {
      return try HDF5.with(path, body)
    } catch {
      isBroken = true
      throw error
    }
  }

  func flush() throws {
    try writing { _ = try $0.check(H5Fflush(id, H5F_SCOPE_LOCAL), "write the HDF5 file") }
  }

  /// Writes everything out and closes; the datasets of the file must be closed before.
  func close() throws {
    try flush()
    try writing { library in
      let status = H5Fclose(id)
      id = -1
      try library.check(status, "close the HDF5 file")
    }
  }

  /// Whether the root has a dataset of this name.
  func contains(_ name: String) throws -> Bool {
    try HDF5.with(path) { library in
      try library.check(H5Lexists(id, name, eagle_h5_default_list()), "look for the dataset `\(name)`") > 0
    }
  }
}
