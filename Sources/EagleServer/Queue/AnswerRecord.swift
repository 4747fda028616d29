import EagleCore
import Foundation
import Synchronization

/// A file of finished answers, which training reads: one line `{"input_ids", "loss_mask"}` for each. The mask is 1 for
/// the tokens that the model generated.
///
/// An incomplete line at the end after a write to a full disk is removed at once. An incomplete line after a kill is
/// removed when the file is opened again.
package final class AnswerRecord: Sendable {
  private let path: String
  private let log: @Sendable (String) -> Void
  /// nil once a write has failed.
  private let file: Mutex<FileHandle?>

  private struct Line: Encodable {
    let inputIDs: [Int32]
    let lossMask: [UInt8]

    enum CodingKeys: String, CodingKey {
      case inputIDs = "input_ids"
      case lossMask = "loss_mask"
    }
  }

  /// Opens the file for appending, and locks it; a new file is readable only by its owner.
  ///
  /// - Parameter log: called with a message when a line cannot be written
  /// - Throws: `LocatedError` for a path that cannot be written, and for a file that another running server has locked
  package init(path: String, log: @escaping @Sendable (String) -> Void) throws {
    self.path = path
    self.log = log
    let opened = try AppendedFile.lines(
      at: path, mode: 0o600, advice: "name a file in a folder that is there, with --record",
      lockedAdvice: "stop the other server, or name another file with --record")
    file = Mutex(opened)
  }

  /// Adds an answer. After a failed write, recording stops and the server continues.
  func add(prompt: [Int32], answer: [Int32]) {
    let mask = [UInt8](repeating: 0, count: prompt.count) + [UInt8](repeating: 1, count: answer.count)
    file.withLock { file in
      guard let handle = file else { return }
      let end = try? handle.seekToEnd()
      do {
        let line = Line(inputIDs: prompt + answer, lossMask: mask)
        try handle.write(contentsOf: try JSONStyle.compact.encode(line) + Data("\n".utf8))
      } catch {
        if let end { try? handle.truncate(atOffset: end) }
        log("warning: \(path): \(error); nothing more is recorded")
        file = nil
      }
    }
  }
}
