import Foundation

/// Files that grow at their end.
package enum AppendedFile {
  /// Appends bytes to a file; creates the file when it is missing.
  package static func append(_ bytes: Data, to path: String) throws {
    if !FileManager.default.fileExists(atPath: path) { try Data().write(to: URL(fileURLWithPath: path)) }
    let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
    defer { try? file.close() }
    try file.seekToEnd()
    try file.write(contentsOf: bytes)
  }

  /// Opens a file of lines for appending, without the half line that a killed program may have left. Each write goes to
  /// its end.
  ///
  /// - Parameters:
  ///   - path: the file; created when it is missing
  ///   - mode: who may read and write a new one
  ///   - advice: what to do if it cannot be written
  ///   - lockedAdvice: what to do if another process holds the file; nil opens it without a lock. With a lock no other
  ///     process can open it this way until it is closed
  /// - Throws: `LocatedError` for a path that cannot be written to, and for a file that another process holds
  package static func lines(
    at path: String, mode: mode_t = 0o666, advice: String, lockedAdvice: String? = nil
  ) throws -> FileHandle {
    let descriptor = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, mode)
    guard descriptor >= 0 else {
      throw LocatedError(
        path: path, problem: "cannot be written to (\(String(cString: strerror(errno))))", advice: advice)
    }
    let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    // The lock is taken before the end is cut: another process may be writing the half line there.
    if let lockedAdvice, !FileLock.take(descriptor) {
      throw LocatedError(path: path, problem: "another process writes to it", advice: lockedAdvice)
    }
    try file.truncate(atOffset: try wholeLines(of: file))
    try file.seekToEnd()
    return file
  }

  /// The bytes up to the last end of a line.
  private static func wholeLines(of file: FileHandle) throws -> UInt64 {
    var at = try file.seekToEnd()
    while at > 0 {
      let length = min(at, 1 << 20)
      at -= length
      try file.seek(toOffset: at)
      let bytes = try file.read(upToCount: Int(length)) ?? Data()
      if let last = bytes.lastIndex(of: UInt8(ascii: "\n")) { return at + UInt64(last - bytes.startIndex) + 1 }
    }
    return 0
  }
}
