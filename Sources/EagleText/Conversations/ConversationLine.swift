import Foundation

/// A record of a data file; parsing it can be left to another thread.
package struct ConversationLine: Sendable {
  /// The number of its line, or of the element in a file that is one list, counted from 1.
  package let number: Int
  /// Nil for one that is too long to be read.
  let bytes: Data?
  let fileName: String

  package var byteCount: Int { bytes?.count ?? 0 }

  /// What the line holds, or what is wrong with it. A missing id becomes `<file name>:<line>`.
  package func parsed() -> Result<DataRecord, TextError> {
    guard let bytes else { return .failure(Line.tooLong) }
    do {
      return .success(try ConversationRecord(bytes).record(fallbackID: "\(fileName):\(number)"))
    } catch {
      return .failure(error as? TextError ?? TextError("\(error)"))
    }
  }
}
