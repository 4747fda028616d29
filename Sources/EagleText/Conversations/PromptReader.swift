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

/// Reads prompts in the formats that benchmarks and questions come in: JSON lines with one object each, conversations,
/// of which the user's turns and the system message count, and CSV tables of multiple choice (CMMLU, C-Eval).
///
/// ```
/// {"turns": [text, …]}                                             MT-Bench
/// {"question"}                                                     GSM8K
/// {"prompt"}                                                       HumanEval; with "test_list" MBPP, sanitized
/// {"text", "test_list": [test, …]}                                 MBPP
/// {"problem"}                                                      MATH-500
/// {"question_content", "starter_code"}                             LiveCodeBench
/// {"question", "A", "B", "C", "D"} or {"question", "choices": []}  multiple choice
/// {"instruction", "input"}                                         Alpaca
/// ```
/// An `id`, `question_id`, `task_id` or `unique_id` may be added to each.
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
    let questions = table.rows.map { row in columns.map { row.fields[$0!] } }
      .map { ChoiceQuestion(question: $0[0], options: Array($0.dropFirst())) }
    let isChinese = questions.contains(where: \.isChinese)
    return zip(table.rows, questions).map { row, question in
      Prompt(id: id.map { row.fields[$0] } ?? "\(row.line)", turns: [question.turn(isChinese: isChinese)])
    }
  }

  /// The prompt of a line; throws a `TextError` that says what is wrong with it.
  static func parse(_ line: Line, fallbackID: String) throws -> Prompt {
    guard let bytes = line.bytes else { throw Line.tooLong }
    return try PromptRecord(bytes).prompt(fallbackID: fallbackID)
  }
}
