import EagleText
import Foundation
import Testing

@Suite struct ChatTemplateDetectionTests {
  private static let chatML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
  private static let smolLM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"

  private func detect(_ files: [String: String], name: String = "auto") throws -> ChatTemplate.Family {
    try withTemporaryFolder { folder in
      for (file, content) in files {
        try Data(content.utf8).write(to: folder.appendingPathComponent(file))
      }
      let tokenizer = try SmallVocabulary().tokenizer()
      return try ChatTemplate.detect(folder: folder.path, tokenizer: tokenizer, name: name).family
    }
  }

  private func config(_ template: String) throws -> String {
    String(decoding: try TokenizerFile.config(chatTemplate: template, bos: nil, eos: nil, pad: nil), as: UTF8.self)
  }

  @Test("the folder's chat template decides about the family")
  func theTemplateDecides() throws {
    #expect(try detect(["tokenizer_config.json": config(Self.chatML)]) == .qwen3Instruct)
    #expect(try detect(["tokenizer_config.json": config(Self.smolLM + Self.chatML)]) == .smollm2)
    #expect(try detect(["chat_template.jinja": Self.chatML]) == .qwen3Instruct)
    #expect(try detect(["tokenizer_config.json": "{}", "chat_template.jinja": Self.smolLM + Self.chatML]) == .smollm2)
  }

  @Test("of several templates in a folder the one called default counts")
  func ofSeveralTemplatesTheDefaultCounts() throws {
    let list =
      #"{"chat_template": [{"name": "tools", "template": "x"}, "#
      + #"{"name": "default", "template": "<|im_start|><|im_end|>"}]}"#
    #expect(try detect(["tokenizer_config.json": list]) == .qwen3Instruct)
  }

  @Test("a template given by name needs no file")
  func aNameNeedsNoFile() throws {
    #expect(try detect([:], name: "smollm2") == .smollm2)
    #expect(try detect([:], name: "qwen3-instruct") == .qwen3Instruct)
    let message = errorText { _ = try detect([:], name: "llama") }
    #expect(message.contains("\"llama\", choose auto, qwen3-instruct, smollm2"))
  }

  @Test func otherTemplatesAreRefused() throws {
    let message = errorText { _ = try detect(["tokenizer_config.json": config("[INST] {{ x }} [/INST]")]) }
    #expect(message.contains("tokenizer_config.json: its chat template is not ChatML"))
    #expect(errorText { _ = try detect([:]) }.contains("no chat_template"))
    #expect(errorText { _ = try detect(["tokenizer_config.json": "{\"chat_te"]) }.contains("not valid JSON"))
    #expect(errorText { _ = try detect(["tokenizer_config.json": "{\"chat_template\": 3}"]) }.contains("chat_template"))
  }

  @Test("a template that renders ChatML in another way is refused")
  func chatMLThatWouldBeRenderedOtherwiseIsRefused() throws {
    for (addition, named) in [
      ("{% if enable_thinking is false %}{{ '<think>' }}{% endif %}", "thinking blocks"),
      (#"{{ '<|im_start|>assistant\n<think>\n' }}"#, "thinking blocks"),
      (#"{{ '<|im_start|>system\nYou are Qwen, created by Alibaba Cloud.<|im_end|>' }}"#, "a default system prompt"),
      ("<|im_start|>system\nYou are a helpful assistant.<|im_end|>", "a default system prompt"),
    ] {
      let template = try config(Self.chatML + addition)
      #expect(errorText { _ = try detect(["tokenizer_config.json": template]) }.contains(named))
      #expect(try detect(["tokenizer_config.json": template], name: "qwen3-instruct") == .qwen3Instruct)
    }
  }

  /// Such parts stand in templates of Qwen3-Instruct-2507 and do not touch a plain conversation.
  @Test("blocks for tools, and thoughts that a template removes, are accepted")
  func toolsAndRemovedThoughtsDoNotMatter() throws {
    let tools = #"{% if tools %}{{ '<|im_start|>system\n' }}You are provided with function signatures{% endif %}"#
    let removal = #"{% if thought %}{{ '<|im_start|>' + m.role + '\n<think>\n' + thought }}{% endif %}"#
    #expect(try detect(["tokenizer_config.json": config(Self.chatML + tools + removal)]) == .qwen3Instruct)
  }
}
