import Foundation

/// An exclusive lock on a file. Once it is taken, this process has it until the object is released or the process ends,
/// however it ends.
package final class FileLock: Sendable {
  private let descriptor: Int32

  /// Opens the file without locking it, and makes it when it is missing.
  package init(_ path: String) throws {
    descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw LocatedError.system(path: path, "create the file") }
  }

  /// Whether no other process has the lock; then this one has. A network file system without locks says so: there
  /// processes cannot be told apart, and each gets it.
  package func take() -> Bool { Self.take(descriptor) }

  /// The same for a file that is open already; the lock is released when it is closed.
  static func take(_ descriptor: Int32) -> Bool {
    while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
      if errno != EINTR { return errno != EWOULDBLOCK }
    }
    return true
  }

  /// Replaces the file's text.
  package func note(_ text: String) {
    ftruncate(descriptor, 0)
    _ = Data(text.utf8).withUnsafeBytes { pwrite(descriptor, $0.baseAddress, $0.count, 0) }
  }

  deinit { close(descriptor) }
}
