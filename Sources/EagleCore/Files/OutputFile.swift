import Foundation

/// A file being written from start to end. Every failed write throws with the system's reason.
package final class OutputFile {
  package let path: String
  /// Bytes written so far.
  package private(set) var byteCount = 0
  private var descriptor: Int32

  /// Creates the file, or empties an existing one but for its first bytes.
  ///
  /// - Parameter kept: the first bytes of an existing file, which stay; writing continues after them
  package init(path: String, keeping kept: Int = 0) throws {
    self.path = path
    descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (kept == 0 ? O_TRUNC : 0), 0o666)
    guard descriptor >= 0 else { throw LocatedError.system(path: path, "create the file") }
    if kept == 0 { return }
    guard ftruncate(descriptor, off_t(kept)) == 0, lseek(descriptor, 0, SEEK_END) == kept else {
      throw LocatedError.system(path: path, "empty the file")
    }
  }

  deinit {
    if descriptor >= 0 { _ = Foundation.close(descriptor) }
  }

  package func write(_ bytes: UnsafeRawBufferPointer) throws {
    var remaining = bytes[...]
    while !remaining.isEmpty {
      let chunk = UnsafeRawBufferPointer(rebasing: remaining)
      let written = Foundation.write(descriptor, chunk.baseAddress, min(chunk.count, 1 << 30))
      if written < 0 && errno == EINTR { continue }
      guard written > 0 else { throw LocatedError.system(path: path, "write") }
      remaining = remaining.dropFirst(written)
      byteCount += written
    }
  }

  package func write(_ data: Data) throws {
    try data.withUnsafeBytes { try write($0) }
  }

  /// Waits until the bytes are on the disk, then closes.
  package func finish() throws {
    guard fsync(descriptor) == 0 else { throw LocatedError.system(path: path, "sync to disk") }
    let status = Foundation.close(descriptor)
    descriptor = -1
    guard status == 0 else { throw LocatedError.system(path: path, "close") }
  }
}
