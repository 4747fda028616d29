import Foundation

/// A line that may hold a conversation; parsing it can be left to another thread.
package struct ConversationLine: Sendable {
  package let number: Int
  /// Nil for one that is too long to be read.
  let bytes: Data?
  let fileName: String

  package var byteCount: Int { bytes?.count ?? 0 }

  /// The conversation, or what is wrong with the line. A missing id becomes `<file name>:<line>`.
  package func parsed() -> Result<Conversation, TextError> {
    guard let bytes else { return .failure(Line.tooLong) }
    do {
      let record = try JSONDecoder().decode(ConversationRecord.self, from: bytes)
      return .success(Conversation(id: record.id ?? "\(fileName):\(number)", messages: record.messages))
    } catch let error as TextError {
      return .failure(error)
    } catch {
      return .failure(TextError(TextError.reason(decoding: error)))
    }
  }
}
