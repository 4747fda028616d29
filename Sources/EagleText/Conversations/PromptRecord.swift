import EagleCore
import Foundation

/// One record of a file of prompts.
struct PromptRecord {
  private let fields: JSON.Object

  /// - Throws: `TextError` for bytes that are no JSON object
  init(_ bytes: Data) throws { fields = try ConversationRecord(bytes).fields }

  /// - Throws: `TextError` that says what is wrong with the record
  func prompt(fallbackID: String) throws -> Prompt {
    let idKey = ["id", "question_id", "task_id", "unique_id"].first { fields.present($0) != nil }
    let id = try idKey.flatMap { try fields[$0].flatMap(ConversationRecord.text(ofID:)) } ?? fallbackID
    let record = try ConversationRecord(fields)
    if let messages = try record.messages() { return try prompt(id, messages, tools: record.tools()) }
    guard let key = Self.textKeys.first(where: { fields.present($0) != nil }) else { throw Self.unknown(fields.keys) }
    return Prompt(id: id, turns: try choices(key).map { [$0] } ?? texts(key))
  }

  private static let textKeys = [
    "turns", "prompt", "question", "Question", "question_content", "problem", "instruction", "text",
  ]

  private static func unknown(_ keys: [String]) -> TextError {
    let known = textKeys.filter { $0 != "Question" }.map { "\"\($0)\"" }.joined(separator: ", ")
    let found = keys.isEmpty ? "none" : keys.prefix(8).map { "\"\($0)\"" }.joined(separator: ", ")
    return TextError(
      "there is none of \(known) and \"conversations\"; its fields are \(found): rename the one that holds the prompt")
  }

  /// The prompt of a conversation, whose roles may come in any order.
  private func prompt(_ id: String, _ messages: [ChatMessage], tools: [JSON]) throws -> Prompt {
    let turns = messages.filter { $0.role == .user }.map(\.content)
    guard !turns.isEmpty else { throw TextError("the conversation has no user turn") }
    let system = messages.first.flatMap { [.system, .developer].contains($0.role) ? $0.content : nil }
    return Prompt(id: id, system: system, turns: turns, tools: tools)
  }

  /// A text or a list of texts, with the other fields of its task.
  private func texts(_ key: String) throws -> [String] {
    let texts = try (fields[key]?.string).map { [$0] } ?? list(key)
    guard !texts.isEmpty else { throw TextError("the list \"\(key)\" is empty") }
    let more = try supplement(key)
    return more.isEmpty ? texts : texts.map { "\($0)\n\n\(more)" }
  }

  private func list(_ key: String) throws -> [String] {
    guard let values = fields[key]?.array, !values.contains(where: { $0.string == nil }) else {
      throw TextError("at \(key): expected a text or a list of texts")
    }
    return values.compactMap(\.string)
  }

  /// What other fields add to the text of `key`.
  private func supplement(_ key: String) throws -> String {
    switch key {
    case "instruction": return fields["input"]?.string ?? ""
    case "question_content": return fields["starter_code"]?.string ?? ""
    case "text" where fields.present("test_list") != nil, "prompt" where fields.present("test_list") != nil:
      return "Your code should pass these tests:\n\n" + (try list("test_list")).joined(separator: "\n")
    default: return ""
    }
  }

  // MARK: multiple choice

  /// The turn of a question with options; nil without options.
  private func choices(_ key: String) throws -> String? {
    guard let question = fields[key]?.string, let options = try options() else { return nil }
    guard (2...26).contains(options.count) else {
      throw TextError("at choices: expected 2 to 26 options, and there are \(options.count)")
    }
    let choice = ChoiceQuestion(question: question, options: options)
    return choice.turn(isChinese: choice.isChinese)
  }

  private func options() throws -> [String]? {
    if fields["choices"]?.array != nil { return try list("choices") }
    guard fields["A"] != nil, fields["B"] != nil else { return nil }
    let columns = ["A", "B", "C", "D", "E", "F", "G", "H", "I", "J"].prefix { fields[$0] != nil }
    // A table has null where another question has more options, or where this one has none.
    guard let last = columns.lastIndex(where: { fields.present($0) != nil }) else { return nil }
    let letters = columns[...last]
    return try letters.map { letter in
      switch fields[letter] {
      case .string(let text): return text
      // An option that is a number may come without quotes.
      case .number(let spelling): return spelling
      default: throw TextError("at \(letter): expected the text of an option")
      }
    }
  }
}
