import ArgumentParser
import EagleChat
import EagleCore
import EagleText
import Foundation

struct Render: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Render a conversation with the chat template: text, token ids, and the spans that training learns from.")

  @Option(help: "Target model: a Hugging Face folder or a GGUF file. Only tokenizer and chat template are needed.")
  var target: String

  @OptionGroup var template: TemplateArguments

  @Option(help: "JSON file with a list of messages, or an object with `messages` and optional `tools`.")
  var messages: String

  @Option(help: "JSON file with a list of tool definitions.")
  var tools: String?

  @Option(help: "Rows into which a conversation with answers is split, as `data.rows` of a recipe.")
  var rows = ConversationRows.auto

  @Flag(help: "Render a prompt even if the last message is an answer; the prompt then continues the answer.")
  var prompt = false

  @Flag(help: "Print one JSON object instead of the text.")
  var json = false

  func run() throws {
    let files = try TextFiles.tokenizer(ofModel: target)
    let tokenizer = try Tokenizer(files: files)
    let template = try ChatTemplate.load(
      files: files, name: template.chatTemplate, options: template.options.json, tokenizer: tokenizer)
    let conversation = try conversation()
    let rendered = try rendered(conversation, template, tokenizer)
    try Output.write(json ? rendered.json.text(.spaced) + "\n" : rendered.page)
  }

  private func rendered(
    _ conversation: Conversation, _ template: ChatTemplate, _ tokenizer: Tokenizer
  ) throws -> RenderedRows {
    if prompt || conversation.messages.last?.role != .assistant {
      let row = try template.promptRow(conversation, tokenizer: tokenizer)
      return RenderedRows(rows: [row], tokenizer: tokenizer)
    }
    return RenderedRows(
      rows: try template.rows(of: conversation, tokenizer: tokenizer, rows: rows), tokenizer: tokenizer)
  }

  private func conversation() throws -> Conversation {
    let value = try read(messages)
    let object: JSON = value.array == nil ? value : ["messages": value]
    guard case .conversation(var conversation) = try located(messages, { try DataRecord(object, id: messages) }) else {
      throw TextError("\(messages): it holds token ids; a conversation is needed")
    }
    if let tools {
      guard let list = try read(tools).array else { throw TextError("\(tools): expected a list of tools") }
      conversation.tools = list
    }
    return conversation
  }

  private func read(_ path: String) throws -> JSON {
    guard let bytes = FileManager.default.contents(atPath: path) else {
      throw TextError("\(path): cannot be opened for reading; check the path and its permissions")
    }
    return try located(path) { try JSON.read(bytes) }
  }

  private func located<Result>(_ path: String, _ body: () throws -> Result) throws -> Result {
    do { return try body() } catch { throw TextError("\(path): \(error)") }
  }
}

extension ConversationRows: ExpressibleByArgument {}

/// The rows of a conversation, as readable text and as JSON.
private struct RenderedRows {
  let rows: [RenderedConversation]
  let tokenizer: Tokenizer

  var json: JSON { ["rows": .array(rows.map(json))] }

  private func json(_ row: RenderedConversation) -> JSON {
    [
      "text": .string(row.text), "ids": .array(row.ids.map { JSON(Int($0)) }),
      "loss_mask": .array(row.lossMask.map { JSON(Int($0)) }),
      "spans": .array(
        row.spans.map { span in
          ["start": JSON(span.lowerBound), "end": JSON(span.upperBound), "text": .string(text(span, of: row))]
        }),
    ]
  }

  /// Each row's text between rules, with its trained parts marked.
  var page: String {
    rows.enumerated().map { index, row in
      let trained = row.lossMask.reduce(0) { $0 + Int($1) }
      let spans = row.spans.map {
        "trained, bytes \($0.lowerBound) to \($0.upperBound): \(JSON.string(text($0, of: row)).text())\n"
      }
      return
        "--- row \(index + 1) of \(rows.count): \(row.ids.count) tokens, \(trained) trained ---\n\(row.text)\n---\n"
        + "ids \(row.ids.map(String.init).joined(separator: " "))\n" + spans.joined()
    }.joined(separator: "\n")
  }

  private func text(_ span: Range<Int>, of row: RenderedConversation) -> String {
    String(decoding: Array(row.text.utf8)[span], as: UTF8.self)
  }
}
