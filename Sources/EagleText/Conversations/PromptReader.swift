import Foundation

/// One task of a benchmark: what the user says, turn by turn.
public struct Prompt: Sendable, Equatable {
  public let id: String
  public let turns: [String]

  public init(id: String, turns: [String]) {
    self.id = id
    self.turns = turns
  }
}

/// Reads benchmark prompts from JSON lines: one object a line with `turns` (a list of texts), `prompt`, `question` or
/// `problem`, and optionally `id`, `question_id` or `task_id`.
public enum PromptReader {
  /// All prompts of `path` in order; one without an id gets its line number. Throws with file and line at the first
  /// line that has another shape, and when there is no prompt at all.
  public static func read(path: String) throws -> [Prompt] {
    var lines = try LineReader(path: path)
    var prompts: [Prompt] = []
    while let line = try lines.next() {
      if line.isBlank { continue }
      prompts.append(try parse(line, number: lines.lineNumber, path: path))
    }
    guard !prompts.isEmpty else { throw TextError("\(path): there is no prompt in it") }
    return prompts
  }

  private static func parse(_ line: Data, number: Int, path: String) throws -> Prompt {
    do {
      let record = try JSONDecoder().decode(PromptRecord.self, from: line)
      return Prompt(id: record.id ?? "\(number)", turns: record.turns)
    } catch {
      let reason = (error as? TextError)?.description ?? TextError.reason(decoding: error)
      throw TextError("\(path), line \(number): \(reason)")
    }
  }
}

/// One line of a benchmark file.
private struct PromptRecord: Decodable {
  let id: String?
  let turns: [String]

  private enum CodingKeys: String, CodingKey {
    case id
    case questionID = "question_id"
    case taskID = "task_id"
    case turns, prompt, question, problem
  }

  init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: CodingKeys.self)
    let idKey = [CodingKeys.id, .questionID, .taskID].first(where: fields.contains)
    id = try idKey.flatMap { try fields.decodeIfPresent(RecordID.self, forKey: $0)?.text }
    let textKey = [CodingKeys.turns, .prompt, .question, .problem].first(where: fields.contains)
    guard let textKey else { throw TextError("there is none of \"turns\", \"prompt\", \"question\" and \"problem\"") }
    turns = try fields.decode(Texts.self, forKey: textKey).list
    guard !turns.isEmpty else { throw TextError("the list \"\(textKey.stringValue)\" is empty") }
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
