import EagleCore
import Foundation
import Testing

/// A model's own chat template, from data to prompts.
@Suite struct TemplateCommandTests {
  /// Leaves out the reasoning of earlier answers, and rejects a conversation that the assistant begins.
  private static let template =
    "{% if messages[0].role == 'assistant' %}{{ raise_exception('the user speaks first') }}{% endif %}"
    + "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    + "{% if m.reasoning_content and loop.last %}<think>{{ m.reasoning_content }}</think>{% endif %}"
    + "{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"

  private static let messages =
    #"[{"role": "user", "content": "q1"}, {"role": "assistant", "content": "a1", "reasoning_content": "r1"}, "#
    + #"{"role": "user", "content": "q2"}, {"role": "assistant", "content": "a2", "reasoning_content": "r2"}]"#

  private func world(_ template: String = Self.template, lines: [String] = []) throws -> TinyWorld {
    let world = try TinyWorld()
    try world.put("target/chat_template.jinja", template)
    if !lines.isEmpty { try world.put("data.jsonl", lines.joined(separator: "\n")) }
    return world
  }

  private func prepare(_ world: TinyWorld, _ settings: String...) throws -> Outcome {
    try Command.run(
      "eagle-train", ["prepare", "recipe.yaml"] + settings.flatMap { ["--set", $0] }, in: world.path)
  }

  private func statistics(_ world: TinyWorld) throws -> JSON.Object {
    let manifest = try JSON.read(world.read("out/prepared/manifest.json"))
    return try #require(manifest.object?["statistics"]?.object)
  }

  private func render(_ world: TinyWorld, _ arguments: String...) throws -> Outcome {
    try Command.run(
      "eagle-run", ["render", "--target", "target", "--messages", "messages.json"] + arguments, in: world.path)
  }

  @Test("a template that forgets reasoning gives a row for each answer, and statistics.md says so")
  func rows() throws {
    let lines = (0..<30).map { #"{"id": "c\#($0)", "messages": \#(Self.messages.replacing("q1", with: "q\($0)"))}"# }
    let world = try world(lines: lines)
    #expect(try prepare(world, "data.held_out=0").status == 0)
    let all = try statistics(world)
    #expect(all["conversations"] == 60 && all["answer_rows"] == 60 && all["split_conversations"] == 30)
    let page = String(decoding: try world.read("out/prepared/statistics.md"), as: UTF8.self)
    #expect(page.contains("| rows of one answer each | 60, of 30 conversations |"))
    let names = String(decoding: try world.read("out/prepared/conversations-00000.jsonl"), as: UTF8.self)
    #expect(names.hasPrefix("\"c0, answer 1\"\n\"c0, answer 2\"\n"))
    #expect(try prepare(world, "data.held_out=0", "data.rows=last").status == 0)
    #expect(try statistics(world)["conversations"] == 30)
    #expect(try prepare(world, "data.held_out=0", "data.reasoning=drop").status == 0)
    #expect(try statistics(world)["conversations"] == 30 && statistics(world)["split_conversations"] == 0)
  }

  @Test("conversations that the template refuses are left out with its message, place and line")
  func refusals() throws {
    let good = (0..<20).map { #"{"prompt": "q\#($0)", "response": "a"}"# }
    let world = try world(lines: good + [#"{"id": "late", "messages": [{"role": "assistant", "content": "a"}]}"#])
    let outcome = try prepare(world)
    let what = "left out 1 conversation with messages that the chat template refuses; the first: data.jsonl, line 21"
    #expect(outcome.status == 0 && outcome.errors.contains(what), "\(outcome.errors)")
    #expect(outcome.errors.contains("chat_template.jinja:1:") && outcome.errors.contains("the user speaks first"))
  }

  @Test("rows of token ids are taken as they are, and ids that the target lacks are left out")
  func tokenisedRows() throws {
    let rows = (0..<20).map { #"{"id": "t\#($0)", "input_ids": [1, 2, \#($0), 4, 258], "loss_mask": [0, 0, 1, 1, 1]}"# }
    let world = try world(lines: rows + [#"{"id": "far", "input_ids": [1, 2, 5000], "loss_mask": [0, 1, 1]}"#])
    let outcome = try prepare(world, "data.held_out=0")
    #expect(outcome.status == 0 && outcome.errors.contains("a token id that the target does not have"))
    #expect(try statistics(world)["conversations"] == 20 && statistics(world)["assistant_tokens"] == 60)
  }

  @Test("a template that never ends, and one that cannot be read, are one error")
  func hostileTemplates() throws {
    let endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    for (template, reason) in [(endless + Self.template, "steps"), ("{% for %}", "chat_template.jinja:1:")] {
      let world = try world(template)
      try world.put("messages.json", Self.messages)
      let outcome = try render(world)
      #expect(outcome.status == 1 && outcome.errors.hasPrefix("Error: "), "\(outcome.errors)")
      #expect(outcome.errors.contains(reason), "\(outcome.errors)")
    }
  }

  @Test("render shows rows with their trained spans, prompts without, and variables change them")
  func rendering() throws {
    let world = try world(Self.template + "{% if mood %}{{ mood }}{% endif %}")
    try world.put("messages.json", Self.messages)
    let outcome = try render(world, "--json")
    let rows = try #require(try JSON.read(Data(outcome.output.utf8)).object?["rows"]?.array)
    #expect(rows.count == 2 && outcome.status == 0)
    let spans = rows.compactMap { $0.object?["spans"]?.array?.first?.object?["text"]?.string }
    #expect(spans == ["<think>r1</think>a1<|im_end|>", "<think>r2</think>a2<|im_end|>"])
    for row in rows { #expect(row.object?["ids"]?.array?.count == row.object?["loss_mask"]?.array?.count) }
    try world.put("messages.json", #"[{"role": "user", "content": "q"}]"#)
    let prompt = try render(world, "--template-option", "mood=glad")
    #expect(prompt.output.contains("0 trained") && prompt.output.contains("glad"), "\(prompt.output)")
    try world.put("messages.json", #"{"messages": 3}"#)
    #expect(try render(world).errors.hasPrefix("Error: messages.json: \"messages\" is a number"))
  }
}
