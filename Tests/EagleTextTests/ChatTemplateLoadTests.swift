import EagleCore
import EagleText
import Foundation
import Testing

@Suite struct ChatTemplateLoadTests {
  private func load(_ files: [String: String], name: String = "auto") throws -> ChatTemplate {
    try withTemporaryFolder { folder in
      for (file, content) in files {
        let path = folder.appendingPathComponent(file)
        try FileManager.default.createDirectory(at: path.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(content.utf8).write(to: path)
      }
      let name = name.hasSuffix(".jinja") ? folder.appendingPathComponent(name).path : name
      return try ChatTemplate.load(folder: folder.path, name: name, tokenizer: try SmallVocabulary().tokenizer())
    }
  }

  /// A template that renders its own name.
  private func named(_ name: String) -> String {
    "{% for m in messages %}\(name) {{ m.content }}<|im_end|>{% endfor %}"
  }

  private func config(_ template: String) -> String {
    JSON.object(JSON.Object([("chat_template", .string(template)), ("eos_token", "<|im_end|>")])).text()
  }

  private func text(_ template: ChatTemplate, tools: [JSON] = []) throws -> String {
    let tokenizer = try SmallVocabulary().tokenizer()
    let ids = try template.prompt([ChatMessage(role: .user, content: "x")], tools: tools, tokenizer: tokenizer)
    return tokenizer.decode(ids, skipSpecial: false)
  }

  @Test("chat_template.jinja wins over tokenizer_config.json")
  func precedence() throws {
    let files = ["tokenizer_config.json": config(named("config")), "chat_template.jinja": named("file")]
    #expect(try text(load(files)) == "file x<|im_end|>")
    #expect(try text(load(["tokenizer_config.json": config(named("config"))])) == "config x<|im_end|>")
    #expect(
      try text(load(files.merging(["other.jinja": named("other")]) { $1 }, name: "other.jinja")) == "other x<|im_end|>")
  }

  @Test("of several templates tool_use renders conversations with tools, and default all others")
  func namedTemplates() throws {
    let list = JSON.array(
      ["default", "tool_use", "third"].map { ["name": .string($0), "template": .string(named($0))] })
    let template = try load(["tokenizer_config.json": JSON.object(JSON.Object([("chat_template", list)])).text()])
    #expect(try text(template) == "default x<|im_end|>")
    #expect(try text(template, tools: [["name": "f"]]) == "tool_use x<|im_end|>")
    let third = try load(
      ["tokenizer_config.json": JSON.object(JSON.Object([("chat_template", list)])).text()], name: "third")
    #expect(try text(third) == "third x<|im_end|>")
    let beside = ["chat_template.jinja": named("file"), "additional_chat_templates/tool_use.jinja": named("tools")]
    #expect(try text(load(beside), tools: [["name": "f"]]) == "tools x<|im_end|>")
  }

  @Test("special tokens of tokenizer_config.json are variables that may write special tokens")
  func specialTokens() throws {
    let file = #"{"eos_token": {"content": "<|im_end|>"}, "bos_token": "<|im_start|>", "pad_token": null}"#
    let template = try load([
      "tokenizer_config.json": file, "chat_template.jinja": "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}",
    ])
    let tokenizer = try SmallVocabulary().tokenizer()
    let ids = try template.prompt([ChatMessage(role: .user, content: "x")], tokenizer: tokenizer)
    let first = SmallVocabulary().firstControl
    #expect(ids == [first + 1, 120, first + 2] && template.endOfTurn == first + 2)
  }

  @Test("a built-in template given by name needs no file")
  func builtIn() throws {
    #expect(try text(load([:], name: "chatml")).hasPrefix("<|im_start|>user\nx<|im_end|>"))
    #expect(try text(load([:], name: "smollm2")).hasPrefix("<|im_start|>system\nYou are a helpful AI assistant named"))
    let message = errorText { _ = try load([:], name: "llama") }
    #expect(message.contains("\"llama\"") && message.contains("choose auto, chatml, qwen3-instruct, smollm2"))
  }

  @Test("a folder without a template, and files that hold none, are errors with the file")
  func refusals() throws {
    #expect(errorText { _ = try load([:]) }.contains("no chat_template in it and no chat_template.jinja"))
    #expect(
      errorText { _ = try load(["tokenizer_config.json": "{\"chat_te"]) }.contains(
        "tokenizer_config.json: not valid JSON"))
    #expect(
      errorText { _ = try load(["tokenizer_config.json": "{\"chat_template\": 3}"]) }.contains("at chat_template"))
    #expect(errorText { _ = try load([:], name: "no.jinja") }.contains("there is no such chat template"))
    let silent = errorText {
      _ = try load(["chat_template.jinja": "{% for m in messages %}{{ m.content }}{% endfor %}"])
    }
    #expect(silent.contains("no special token ends an answer"))
  }

  @Test("a template that cannot be run is refused with its line")
  func brokenTemplates() throws {
    var message = ""
    do { _ = try load(["chat_template.jinja": "a\n{% if %}"]) } catch { message = "\(error)" }
    #expect(message.contains("chat_template.jinja:2:"), "\(message)")
  }
}
