import Foundation

/// A file mapped into memory, read-only. Pages are read when touched and shared between processes: huge ones, which
/// make reading faster, where the file system has them.
///
/// The bytes are there as long as this object is. The file must not be shortened while it is mapped; writers in
/// this project replace files by renaming and so never do.
package final class MappedFile: @unchecked Sendable {
  package let path: String
  /// Valid while this object is referenced: use `withBytes` unless a reference is stored with the pointer.
  package let bytes: UnsafeRawBufferPointer

  /// Maps a whole file read-only; throws when it is missing or unreadable.
  package init(path: String) throws {
    self.path = path
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw LocatedError.system(path: path, "open the file") }
    defer { close(descriptor) }
    let size = try Self.regularFileSize(descriptor, path: path)
    guard size > 0 else {
      bytes = UnsafeRawBufferPointer(start: nil, count: 0)
      return
    }
    guard let base = mmap(nil, size, PROT_READ, MAP_SHARED, descriptor, 0), base != MAP_FAILED else {
      throw LocatedError.system(path: path, "map the file")
    }
    HugePages.ask(for: base, size)
    bytes = UnsafeRawBufferPointer(start: base, count: size)
  }

  deinit {
    guard let base = bytes.baseAddress else { return }
    munmap(UnsafeMutableRawPointer(mutating: base), bytes.count)
  }

  package var byteCount: Int { bytes.count }

  /// Runs `body` on the content, which must not leave it.
  package func withBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
    try withExtendedLifetime(self) { try body(bytes) }
  }

  private static func regularFileSize(_ descriptor: Int32, path: String) throws -> Int {
    var info = stat()
    guard fstat(descriptor, &info) == 0 else { throw LocatedError.system(path: path, "read its size") }
    guard info.st_mode & S_IFMT == S_IFREG else {
      throw LocatedError(path: path, problem: "is not a file", advice: "name the file itself, not its folder")
    }
    return Int(info.st_size)
  }
}
