import Foundation

/// The right of one process to write below a folder. The system takes it back when the process ends, however it ends.
package final class FolderLock: Sendable {
  private let descriptor: Int32

  /// Makes the folder when it is missing.
  ///
  /// - Throws: `LocatedError` naming the process that holds the lock, when there is one
  package init(_ folder: String) throws {
    try DiskSync.createFolder(folder)
    let path = "\(folder)/.lock"
    descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw LocatedError.system(path: path, "create the file") }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      let code = errno
      defer { close(descriptor) }
      // A network file system without locks says so; then writers cannot be told apart.
      guard code == EWOULDBLOCK else { return }
      let holder = (try? String(contentsOfFile: path, encoding: .utf8))?.trimmingCharacters(in: .whitespacesAndNewlines)
      throw LocatedError(
        path: folder, problem: "\(holder.map { $0.isEmpty ? "another process" : $0 } ?? "another process") writes here",
        advice: "wait until it ends, or choose another output")
    }
    ftruncate(descriptor, 0)
    let text = Data("process \(getpid()) on \(ProcessInfo.processInfo.hostName)\n".utf8)
    _ = text.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
  }

  deinit { close(descriptor) }
}
