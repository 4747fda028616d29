import EagleCore
import Foundation
import Synchronization

/// A file of finished answers, which training reads: a line `{"input_ids", "loss_mask"}` for each, with ones in the
/// mask on the tokens that the model wrote.
///
/// A half line that a full disk leaves at the end is cut off at once. One that a kill leaves is cut off when the file
/// is opened again.
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

  /// Opens the file for appending, and locks it; a new one is readable for its owner alone.
  ///
  /// - Parameter log: told when a line cannot be written
  /// - Throws: `LocatedError` for a path that cannot be written to, and for a record of another server that runs
  package init(path: String, log: @escaping @Sendable (String) -> Void) throws {
    self.path = path
    self.log = log
    let opened = try AppendedFile.lines(
      at: path, mode: 0o600, advice: "name a file in a folder that is there, with --record",
      lockedAdvice: "stop the other server, or name another file with --record")
    file = Mutex(opened)
  }

  /// Adds an answer. Where that fails the record ends, and answers go on.
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
