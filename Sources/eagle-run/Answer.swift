import ArgumentParser
import EagleDecoding
import EagleStorage
import EagleText
import EagleTraining
import Foundation

struct Answer: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Let the target answer a file of prompts greedily, turn by turn, and write conversations to train on.")

  @Option(help: "Folder of the target model (Hugging Face layout).")
  var target: String

  @Option(help: "Name of the chat template; auto takes the target's own.")
  var chatTemplate = "auto"

  @Option(help: "JSON lines with `turns`, `prompt`, `question` or `problem`.")
  var prompts: String

  @Option(help: "JSON lines of conversations to write; existing ids in it are kept and not answered again.")
  var output: String

  @Option(help: "Most tokens of an answer.")
  var maxTokens = 256

  @Option(help: "Prompts that are answered together.")
  var batch = 8

  func validate() throws {
    guard maxTokens > 0 else { throw ValidationError("--max-tokens must be above 0") }
    guard batch > 0 else { throw ValidationError("--batch must be above 0") }
  }

  func run() throws {
    let model = try ChatModel(folder: target, template: chatTemplate)
    let writer = try ConversationWriter(path: output)
    let waiting = try PromptReader.read(path: prompts).filter { !writer.known.contains($0.id) }
    var dialogues = waiting.map { Dialogue(prompt: $0) }
    let options = DecodingOptions(maxNewTokens: maxTokens, stopIDs: model.stopIDs)
    let generator = BatchGenerator(target: model.target, width: batch)
    // All first turns, then all second turns, and so on: later turns need the earlier answers.
    while true {
      let open = dialogues.indices.filter { dialogues[$0].nextMessages != nil }
      if open.isEmpty { break }
      let ids = try open.map { try model.prompt(dialogues[$0].nextMessages!) }
      try generator.generate(ids, options) { index, answer in
        dialogues[open[index]].answers.append(model.text(answer))
        if dialogues[open[index]].nextMessages == nil { try writer.write(dialogues[open[index]]) }
      }
    }
  }
}

/// A prompt and the answers so far.
struct Dialogue {
  let prompt: Prompt
  var answers: [String] = []

  /// Everything up to the next user turn; nil when all turns are answered.
  var nextMessages: [ChatMessage]? {
    guard answers.count < prompt.turns.count else { return nil }
    let past = zip(prompt.turns, answers).flatMap {
      [ChatMessage(role: .user, content: $0), ChatMessage(role: .assistant, content: $1)]
    }
    return past + [ChatMessage(role: .user, content: prompt.turns[answers.count])]
  }
}

/// Appends finished conversations to a file of JSON lines, one write each.
final class ConversationWriter {
  /// Ids that the file held already.
  private(set) var known: Set<String> = []
  private let file: FileHandle

  init(path: String) throws {
    if FileManager.default.fileExists(atPath: path) {
      try Self.mendEnd(path)
      var ids: Set<String> = []
      _ = try ConversationReader.read(path: path) { ids.insert($0.id) }
      known = ids
    } else if !FileManager.default.createFile(atPath: path, contents: nil) {
      throw StorageError(
        path: path, problem: "cannot be written", advice: "check the folder and its permissions")
    }
    file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
    try file.seekToEnd()
  }

  /// A program that was killed may have left half a line, which goes; a whole one without its line end gets it.
  private static func mendEnd(_ path: String) throws {
    let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
    let data = try file.readToEnd() ?? Data()
    let end = data.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
    if end < data.count {
      if (try? JSONSerialization.jsonObject(with: Data(data[end...]))) != nil {
        try file.write(contentsOf: Data("\n".utf8))
      } else {
        try file.truncate(atOffset: UInt64(end))
      }
    }
    try file.close()
  }

  private struct Line: Encodable {
    struct Message: Encodable { let role, content: String }
    let id: String
    let conversations: [Message]
  }

  func write(_ dialogue: Dialogue) throws {
    let messages = zip(dialogue.prompt.turns, dialogue.answers).flatMap {
      [Line.Message(role: "user", content: $0), Line.Message(role: "assistant", content: $1)]
    }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    let line = try encoder.encode(Line(id: dialogue.prompt.id, conversations: messages))
    try file.write(contentsOf: line + Data("\n".utf8))
  }
}
