import EagleCore
import Foundation

/// The user's turns of a conversation: a task of a benchmark, or questions to answer.
package struct Prompt: Sendable, Equatable {
  package let id: String
  /// The system message, where the file has one.
  package let system: String?
  package let turns: [String]
  /// Descriptions of the tools that the assistant may call.
  package let tools: [JSON]

  package init(id: String, system: String? = nil, turns: [String], tools: [JSON] = []) {
    self.id = id
    self.system = system
    self.turns = turns
    self.tools = tools
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
    var lines = try RecordReader(path: path)
    var prompts: [Prompt] = []
    while let line = try lines.next() {
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
    return try PromptRecord(bytes).prompt(fallbackID: fallbackID)
  }
}

/// One record of a file of prompts.
private struct PromptRecord {
  private let fields: JSON.Object

  init(_ bytes: Data) throws { fields = try ConversationRecord(bytes).fields }

  func prompt(fallbackID: String) throws -> Prompt {
    let idKey = ["id", "question_id", "task_id", "unique_id"].first { fields[$0] != nil }
    let id = try idKey.flatMap { try fields[$0].flatMap(ConversationRecord.text(ofID:)) } ?? fallbackID
    let record = try ConversationRecord(fields)
    if let messages = try record.messages() { return try prompt(id, messages, tools: record.tools()) }
    guard let key = Self.textKeys.first(where: { fields[$0] != nil }) else {
      throw TextError(
        "there is none of \"turns\", \"prompt\", \"question\", \"problem\", \"text\" and \"conversations\"")
    }
    return Prompt(id: id, turns: try texts(key))
  }

  private static let textKeys = ["turns", "prompt", "question", "problem", "instruction", "text"]

  /// The prompt of a conversation, whose roles may come in any order.
  private func prompt(_ id: String, _ messages: [ChatMessage], tools: [JSON]) throws -> Prompt {
    let turns = messages.filter { $0.role == .user }.map(\.content)
    guard !turns.isEmpty else { throw TextError("the conversation has no user turn") }
    let system = messages.first.flatMap { [.system, .developer].contains($0.role) ? $0.content : nil }
    return Prompt(id: id, system: system, turns: turns, tools: tools)
  }

  /// A text or a list of texts.
  private func texts(_ key: String) throws -> [String] {
    let list = (fields[key]?.string).map { [$0] } ?? fields[key]?.array?.map { $0.string ?? "" }
    guard let list, fields[key]?.array?.contains(where: { $0.string == nil }) != true else {
      throw TextError("at \(key): expected a text or a list of texts")
    }
    guard !list.isEmpty else { throw TextError("the list \"\(key)\" is empty") }
    let input = key == "instruction" ? fields["input"]?.string ?? "" : ""
    return input.isEmpty ? list : list.map { $0 + "\n\n" + input }
  }
}
