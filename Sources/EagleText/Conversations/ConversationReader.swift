import Foundation

/// A line of a data file that was left out, and why.
public struct SkippedLine: Sendable, Equatable {
  public let line: Int
  public let reason: String
}

/// What reading a data file came to.
public struct ReadReport: Sendable, Equatable {
  public let path: String
  /// Conversations handed on.
  public internal(set) var read = 0
  /// Lines left out; `skipped` holds the first of them.
  public internal(set) var skippedCount = 0
  public internal(set) var skipped: [SkippedLine] = []

  init(path: String) {
    self.path = path
  }
}

/// Reads conversations from JSON lines, one object a line, in any of three shapes:
/// `{"id", "conversations": [{"role", "content"}]}` (EagleChat, SpecForge),
/// `{"id", "conversations": [{"from": "human" | "gpt" | "system", "value"}]}` (ShareGPT) and
/// `{"messages": [{"role", "content"}]}` (OpenAI).
///
/// Blank lines are ignored. A line that cannot be read is skipped and counted; more than 1 % of them is an error.
public enum ConversationReader {
  private static let keptReasons = 8
  private static let linesBeforeEarlyStop = 1000

  /// Reads `path` and calls `each` with every conversation in order. A missing id becomes "<file name>:<line>".
  ///
  /// Throws when the file cannot be read, when more than 1 % of its lines were skipped (checked at the end, and after
  /// every line past the first thousand), and what `each` throws.
  @discardableResult
  public static func read(path: String, each: (Conversation) throws -> Void) throws -> ReadReport {
    var lines = try LineReader(path: path)
    var report = ReadReport(path: path)
    let fileName = URL(fileURLWithPath: path).lastPathComponent
    while let line = try lines.next() {
      if line.isBlank { continue }
      switch parse(line, fallbackID: "\(fileName):\(lines.lineNumber)") {
      case .success(let conversation):
        try each(conversation)
        report.read += 1
      case .failure(let error):
        report.skip(line: lines.lineNumber, reason: error.description, keeping: keptReasons)
        if report.read + report.skippedCount > linesBeforeEarlyStop { try report.checkShare() }
      }
    }
    try report.checkShare()
    return report
  }

  private static func parse(_ line: Data, fallbackID: String) -> Result<Conversation, TextError> {
    do {
      let record = try JSONDecoder().decode(ConversationRecord.self, from: line)
      return .success(Conversation(id: record.id ?? fallbackID, messages: record.messages))
    } catch let error as TextError {
      return .failure(error)
    } catch {
      return .failure(TextError(TextError.reason(decoding: error)))
    }
  }
}

extension ReadReport {
  mutating func skip(line: Int, reason: String, keeping limit: Int) {
    skippedCount += 1
    if skipped.count < limit { skipped.append(SkippedLine(line: line, reason: reason)) }
  }

  /// Throws when more than one line in a hundred was skipped.
  func checkShare() throws {
    guard let first = skipped.first, skippedCount * 100 > read + skippedCount else { return }
    throw TextError(
      "\(path): \(skippedCount) of \(read + skippedCount) lines cannot be used, more than 1 %; "
        + "the first is line \(first.line): \(first.reason)")
  }
}

/// One line of a conversation file.
private struct ConversationRecord: Decodable {
  let id: String?
  let messages: [ChatMessage]

  private enum CodingKeys: String, CodingKey {
    case id, conversations, messages
  }

  init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: CodingKeys.self)
    id = try fields.decodeIfPresent(RecordID.self, forKey: .id)?.text
    let key = [CodingKeys.conversations, .messages].first(where: fields.contains)
    guard let key else { throw TextError("there is neither \"conversations\" nor \"messages\"") }
    messages = try fields.decode([Turn].self, forKey: key).enumerated().map { index, turn in
      try turn.message(number: index + 1)
    }
    guard !messages.isEmpty else { throw TextError("the list \"\(key.stringValue)\" is empty") }
  }

  private struct Turn: Decodable {
    let role: String?
    let from: String?
    let content: String?
    let value: String?

    func message(number: Int) throws -> ChatMessage {
      guard let name = role ?? from else { throw TextError("message \(number) has neither \"role\" nor \"from\"") }
      guard let role = Turn.roles[name] else { throw TextError("message \(number) has the unknown role \"\(name)\"") }
      guard let text = content ?? value else { throw TextError("message \(number) has no text") }
      return ChatMessage(role: role, content: text)
    }

    private static let roles: [String: ChatMessage.Role] = [
      "system": .system, "user": .user, "human": .user, "assistant": .assistant, "gpt": .assistant,
    ]
  }
}

/// An id as data files have it, a string or a number.
struct RecordID: Decodable {
  let text: String

  init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if let text = try? container.decode(String.self) {
      self.text = text
    } else if let number = try? container.decode(Int.self) {
      text = "\(number)"
    } else {
      throw TextError("the id is neither a string nor a whole number")
    }
  }
}
