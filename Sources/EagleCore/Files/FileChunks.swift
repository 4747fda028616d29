import Foundation

/// Files that are read once from start to end, however large they are.
package enum FileChunks {
  /// Bytes of each chunk but the last.
  package static let byteCount = 1 << 20

  /// Calls `body` with the bytes of a file, chunk by chunk; they are valid during the call.
  ///
  /// - Throws: `LocatedError` for a file that cannot be opened or read, and what `body` throws
  package static func forEach(of path: String, _ body: (UnsafeRawBufferPointer) throws -> Void) throws {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw LocatedError.system(path: path, "open the file") }
    defer { close(descriptor) }
    let chunk = UnsafeMutableRawBufferPointer.allocate(byteCount: byteCount, alignment: 64)
    defer { chunk.deallocate() }
    while true {
      let count = read(descriptor, chunk.baseAddress, chunk.count)
      if count < 0 && errno == EINTR { continue }
      guard count >= 0 else { throw LocatedError.system(path: path, "read") }
      if count == 0 { return }
      try body(UnsafeRawBufferPointer(rebasing: chunk[..<count]))
    }
  }
}
