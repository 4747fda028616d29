import Foundation

/// A line of a data file that was left out, and why.
public struct SkippedLine: Sendable, Equatable, Codable {
  public let line: Int
  public let reason: String
}

/// What reading a data file came to.
public struct ReadReport: Sendable, Equatable, Codable {
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
/// `{"messages": [{"role", "content"}]}` (OpenAI). A message with `"cut": true` was broken off.
///
/// Files may be compressed with gzip or Zstandard. Blank lines are ignored. A line that cannot be read is skipped and counted;
/// more than 1 % of them is an error.
public enum ConversationReader {
  /// Reads `path` and calls `each` with every conversation in order. A missing id becomes "<file name>:<line>".
  ///
  /// Throws when the file cannot be read, when more than 1 % of its lines were skipped (checked at the end, and after
  /// every line past the first thousand), and what `each` throws.
  @discardableResult
  public static func read(path: String, each: (Conversation) throws -> Void) throws -> ReadReport {
    var lines = try ConversationLines(path: path)
    while let line = try lines.next() {
      switch line.parsed() {
      case .success(let conversation):
        try each(conversation)
        lines.count(read: line)
      case .failure(let error): try lines.count(skipped: line, because: error)
      }
    }
    return try lines.finished()
  }
}

/// A line that may hold a conversation; parsing it can be left to another thread.
public struct ConversationLine: Sendable {
  public let number: Int
  /// Nil for one that is too long to be read.
  let bytes: Data?
  let fileName: String

  public var byteCount: Int { bytes?.count ?? 0 }

  /// The conversation, or what is wrong with the line.
  public func parsed() -> Result<Conversation, TextError> {
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

/// The lines of a data file, whose parsing the caller does and reports back.
public struct ConversationLines {
  private static let linesBeforeEarlyStop = 1000

  /// What the file has come to so far.
  public private(set) var report: ReadReport
  private var lines: LineReader
  private let fileName: String

  /// Opens the file; throws with its path when that fails.
  public init(path: String) throws {
    lines = try LineReader(path: path)
    report = ReadReport(path: path)
    fileName = URL(fileURLWithPath: path).lastPathComponent
  }

  public var isCompressed: Bool { lines.isCompressed }

  /// Bytes of the file that the lines so far came from: of a compressed one about as many.
  public var bytesUsed: Double { lines.bytesUsed }

  /// Goes on with the first line that begins behind `offset` of a file that is not compressed, to read a share of it.
  public mutating func jump(behind offset: Int) throws { try lines.jump(behind: offset) }

  /// The next line that is not blank; nil after the last.
  public mutating func next() throws -> ConversationLine? {
    while let line = try lines.next() {
      if !line.isBlank { return ConversationLine(number: line.number, bytes: line.bytes, fileName: fileName) }
    }
    return nil
  }

  /// Passes over the lines up to number `last`, which are in `report`.
  public mutating func skip(to last: Int, report: ReadReport) throws {
    while last > 0, let line = try lines.next(), line.number < last {}
    self.report = report
  }

  public mutating func count(read line: ConversationLine) { report.read += 1 }

  /// Throws when the file is wrong as a whole.
  public mutating func count(skipped line: ConversationLine, because error: TextError) throws {
    report.skip(line: line.number, reason: error.description)
    if report.read + report.skippedCount > Self.linesBeforeEarlyStop { try report.checkShare() }
  }

  /// After the last line; throws when too many were skipped.
  public func finished() throws -> ReadReport {
    try report.checkShare()
    return report
  }
}

extension ReadReport {
  private static let keptReasons = 8

  mutating func skip(line: Int, reason: String) {
    skippedCount += 1
    if skipped.count < Self.keptReasons { skipped.append(SkippedLine(line: line, reason: reason)) }
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
struct ConversationRecord: Decodable {
  let id: String?
  let messages: [ChatMessage]

  enum CodingKeys: String, CodingKey {
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
    let cut: Bool?

    func message(number: Int) throws -> ChatMessage {
      guard let name = role ?? from else { throw TextError("message \(number) has neither \"role\" nor \"from\"") }
      guard let role = Turn.roles[name] else { throw TextError("message \(number) has the unknown role \"\(name)\"") }
      guard let text = content ?? value else { throw TextError("message \(number) has no text") }
      return ChatMessage(role: role, content: text, isCut: cut ?? false)
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
