import EagleCore
import EagleText
import Foundation
import Testing

/// Rendered conversations with their loss masks, from transformers with a model's own tokenizer and template. Fixtures:
/// Tools/oracles/chat_reference.py; each holds the part of the tokenizer that its texts need.
@Suite struct ChatReferenceTests {
  private struct Reference: Decodable {
    let chat_template: String
    let texts: [EncodedText]
    let conversations: [Entry]
  }

  private struct Entry: Decodable {
    let messages: [Message]
    let add_generation_prompt: Bool
    let ids: [Int32]
    let loss_mask: String?
  }

  private struct Message: Decodable {
    let role: String
    let content: String
  }

  private let names = ["qwen3-instruct": "chat-qwen3.json", "smollm2": "chat-smollm2.json"]

  private func load(_ family: String) throws -> (Reference, Tokenizer) {
    let name = try #require(names[family])
    let json = try fixture(name)
    let root = try #require(try JSONSerialization.jsonObject(with: json) as? [String: Any])
    let file = try JSONSerialization.data(withJSONObject: try #require(root["tokenizer"]))
    return (try JSONDecoder().decode(Reference.self, from: json), try Tokenizer(json: file, path: name))
  }

  private func messages(of entry: Entry) throws -> [ChatMessage] {
    try entry.messages.map { message in
      ChatMessage(role: try #require(ChatMessage.Role(rawValue: message.role)), content: message.content)
    }
  }

  @Test(
    "rendered conversations and their loss masks are those of transformers",
    arguments: ["qwen3-instruct", "smollm2"])
  func conversationsAndMasksAgree(family: String) throws {
    let (reference, tokenizer) = try load(family)
    let template = try load(reference.chat_template, tokenizer)
    var masks = 0
    for entry in reference.conversations {
      let messages = try messages(of: entry)
      if entry.add_generation_prompt {
        #expect(try template.prompt(messages, tokenizer: tokenizer) == entry.ids, "\(entry.messages)")
      } else {
        let rows = try template.rows(of: Conversation(id: "reference", messages: messages), tokenizer: tokenizer)
        let rendered = try #require(rows.first)
        #expect(rows.count == 1 && rendered.answer == nil)
        #expect(rendered.ids == entry.ids, "\(entry.messages)")
        #expect(rendered.lossMask.map(String.init).joined() == entry.loss_mask, "\(entry.messages)")
        masks += 1
      }
    }
    #expect(masks >= 20 && reference.conversations.count >= masks + 5)
  }

  @Test("token ids and decoded texts are those of the reference", arguments: ["qwen3-instruct", "smollm2"])
  func textsAgree(family: String) throws {
    let (reference, tokenizer) = try load(family)
    #expect(reference.texts.count > 200)
    for expected in reference.texts {
      let ids = try tokenizer.encode(expected.text)
      #expect(ids == expected.ids, "\(expected.text.debugDescription)")
      let decoded = tokenizer.decode(expected.ids, skipSpecial: false)
      #expect(decoded.unicodeScalars.elementsEqual((expected.decoded ?? expected.text).unicodeScalars))
    }
  }

  private func load(_ template: String, _ tokenizer: Tokenizer) throws -> ChatTemplate {
    try withTemporaryFolder { folder in
      try Data(template.utf8).write(to: folder.appendingPathComponent("chat_template.jinja"))
      return try ChatTemplate.load(folder: folder.path, tokenizer: tokenizer)
    }
  }
}
