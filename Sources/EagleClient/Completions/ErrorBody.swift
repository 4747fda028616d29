import EagleCore
import Foundation

/// Reads the message of an error response.
enum ErrorBody {
  /// The message, in one line of at most 200 characters; nil if there is none.
  ///
  /// OpenAI's `{"error": {"message"}}`, FastAPI's `{"detail"}`, `{"message"}`, or else the text itself.
  static func message(_ bytes: [UInt8]) -> String? {
    let fields = (try? JSON.read(bytes))?.object
    let error = fields?["error"]
    let text =
      error?.object?["message"]?.string ?? error?.string ?? fields?["message"]?.string ?? fields?["detail"]?.string
      ?? String(decoding: bytes.prefix(800), as: UTF8.self)
    let line = text.split { $0.isWhitespace || $0.isNewline }.joined(separator: " ")
      .filter { !$0.unicodeScalars.contains { CharacterSet.controlCharacters.contains($0) } }
    return line.isEmpty ? nil : String(line.prefix(200))
  }
}
