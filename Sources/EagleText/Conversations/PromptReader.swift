import Foundation

/// The user's turns of a conversation: a task of a benchmark, or questions to answer.
package struct Prompt: Sendable, Equatable {
  package let id: String
  /// The system message, where the file has one.
  package let system: String?
  package let turns: [String]

  package init(id: String, system: String? = nil, turns: [String]) {
    self.id = id
    self.system = system
    self.turns = turns
  }
}

/// Reads prompts in the formats that benchmarks and questions come in: JSON lines with one object each that has `turns`
/// (a list of texts, as MT-Bench), `prompt` (HumanEval), `question` (GSM8K), `problem` (MATH-500) or `text` (MBPP), and
/// optionally `id`, `question_id`, `task_id` or `unique_id`; conversations, of which the user's turns and the system
/// message count; and CSV tables of multiple choice (CMMLU, C-Eval).
package enum PromptReader {
  /// All prompts of `path` in order; one without an id gets its line number. Throws with file and line at the first
  /// line that has another shape, and when there is no prompt at all.
  package static func read(path: String) throws -> [Prompt] {
    let prompts = path.lowercased().hasSuffix(".csv") ? try choices(path: path) : try lines(path: path)
    guard !prompts.isEmpty else { throw TextError("\(path): there is no prompt in it") }
    return prompts
  }

  private static func lines(path: String) throws -> [Prompt] {
    var lines = try LineReader(path: path)
    var prompts: [Prompt] = []
    while let line = try lines.next() {
      if line.isBlank { continue }
      do {
        prompts.append(try parse(line, fallbackID: "\(line.number)"))
      } catch {
        throw TextError("\(path), line \(line.number): \(error)")
      }
    }
    return prompts
  }

  /// Rows of a table with the columns Question, A, B, C and D, in any order and case.
  private static func choices(path: String) throws -> [Prompt] {
    let table = try CSVTable(path: path)
    let names = table.columns.map { $0.trimmingCharacters(in: .whitespaces).lowercased() }
    let columns = ["question", "a", "b", "c", "d"].map { names.firstIndex(of: $0) }
    guard !columns.contains(nil) else {
      throw TextError(
        "\(path), line 1: the columns are \(names.joined(separator: ", ")); Question, A, B, C and D are needed")
    }
    let id = names.firstIndex(of: "id") ?? names.firstIndex(of: "")
    return table.rows.map { row in
      let texts = columns.map { row.fields[$0!] }
      let options = zip(["A", "B", "C", "D"], texts.dropFirst()).map { "\($0). \($1)" }.joined(separator: "\n")
      let turn = "\(texts[0])\n\n\(options)\n\n请选出正确的选项，并说明理由。"
      return Prompt(id: id.map { row.fields[$0] } ?? "\(row.line)", turns: [turn])
    }
  }

  /// The prompt of a line; throws a `TextError` that says what is wrong with it.
  static func parse(_ line: Line, fallbackID: String) throws -> Prompt {
    guard let bytes = line.bytes else { throw Line.tooLong }
    do {
      let record = try JSONDecoder().decode(PromptRecord.self, from: bytes)
      return Prompt(id: record.id ?? fallbackID, system: record.system, turns: record.turns)
    } catch {
      throw error as? TextError ?? TextError(TextError.reason(decoding: error))
    }
  }
}

/// One line of a benchmark file.
private struct PromptRecord: Decodable {
  let id: String?
  let system: String?
  let turns: [String]

  private enum CodingKeys: String, CodingKey {
    case id
    case questionID = "question_id"
    case taskID = "task_id"
    case uniqueID = "unique_id"
    case turns, prompt, question, problem, text
  }

  init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: CodingKeys.self)
    let idKey = [CodingKeys.id, .questionID, .taskID, .uniqueID].first(where: fields.contains)
    id = try idKey.flatMap { try fields.decodeIfPresent(RecordID.self, forKey: $0)?.text }
    let textKey = [CodingKeys.turns, .prompt, .question, .problem, .text].first(where: fields.contains)
    if let messages = try Self.messages(of: decoder) {
      system = messages.first.flatMap { $0.role == .system ? $0.content : nil }
      turns = messages.filter { $0.role == .user }.map(\.content)
      guard !turns.isEmpty else { throw TextError("the conversation has no user turn") }
    } else if let textKey {
      system = nil
      turns = try fields.decode(Texts.self, forKey: textKey).list
      guard !turns.isEmpty else { throw TextError("the list \"\(textKey.stringValue)\" is empty") }
    } else {
      throw TextError(
        "there is none of \"turns\", \"prompt\", \"question\", \"problem\", \"text\" and \"conversations\"")
    }
  }

  /// The messages of a conversation, in any order of roles; nil when the line is none.
  private static func messages(of decoder: any Decoder) throws -> [ChatMessage]? {
    let fields = try decoder.container(keyedBy: ConversationRecord.CodingKeys.self)
    guard fields.contains(.conversations) || fields.contains(.messages) else { return nil }
    return try ConversationRecord(from: decoder).messages
  }

  /// A text or a list of texts.
  private struct Texts: Decodable {
    let list: [String]

    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      if let text = try? container.decode(String.self) {
        list = [text]
      } else {
        list = try container.decode([String].self)
      }
    }
  }
}
