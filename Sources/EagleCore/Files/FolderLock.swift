import Foundation

/// The right of one process to write below a folder. The system takes it back when the process ends, however it ends.
package final class FolderLock: Sendable {
  private let lock: FileLock

  /// Makes the folder when it is missing.
  ///
  /// - Throws: `LocatedError` naming the process that holds the lock, when there is one
  package init(_ folder: String) throws {
    try DiskSync.createFolder(folder)
    let path = "\(folder)/.lock"
    lock = try FileLock(path)
    guard lock.take() else {
      let holder = (try? String(contentsOfFile: path, encoding: .utf8))?.trimmingCharacters(in: .whitespacesAndNewlines)
      throw LocatedError(
        path: folder, problem: "\(holder.map { $0.isEmpty ? "another process" : $0 } ?? "another process") writes here",
        advice: "wait until it ends, or choose another output")
    }
    lock.note("process \(getpid()) on \(ProcessInfo.processInfo.hostName)\n")
  }
}
