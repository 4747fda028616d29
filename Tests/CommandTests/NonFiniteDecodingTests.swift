import Foundation
import Testing

/// Decoding where the model's states overflow.
@Suite(.serialized) struct NonFiniteDecodingTests {
  /// The character that makes states overflow is never generated; it must be in the prompt.
  private static let fields = #""temperature": 0, "logit_bias": {"90": -100}"#

  private func body(_ text: String) -> String {
    #"{"messages": [{"role": "user", "content": "\#(text)"}], "max_tokens": 5, \#(Self.fields)}"#
  }

  @Test("generate says that logits are not finite, and prints no text")
  func generate() throws {
    let world = try TinyWorld()
    try world.letCharacterOverflow()
    for flags in [[], ["--temperature", "1"]] {
      let outcome = try Command.run(
        "eagle-run", ["generate", "--target", "target", "--prompt", "a Z", "--max-tokens", "5"] + flags, in: world.path)
      #expect(outcome.status == 1 && outcome.errors.contains("not finite") && outcome.output.isEmpty, "\(outcome)")
    }
  }

  @Test("a server answers 500 to such a text alone, also in a batch")
  func serve() throws {
    let world = try TinyWorld(endless: true)
    try world.letCharacterOverflow()
    let served = try Served(world)
    let alone = try served.ask("POST", "/v1/chat/completions", body: body("Z"))
    #expect(alone.status == 500 && (alone.error?["message"] as? String)?.contains("not finite") == true)
    let endless = #"{"prompt": "a", "max_tokens": -1, "stream": true, \#(Self.fields)}"#
    let long = try served.send("POST", "/v1/completions", body: endless)
    #expect(long.read(until: #""text":""#))
    let others = try ["a", "Z", "b"].map { try served.send("POST", "/v1/chat/completions", body: body($0)) }
    #expect(try others.map { try $0.answer().status } == [200, 500, 200])
    long.close()
  }

  @Test("an evaluation ends with the error")
  func evaluate() throws {
    let world = try TinyWorld(conversations: 30)
    let run = try Command.run("eagle-train", ["run", "recipe.yaml", "--set", "train.epochs=1"], in: world.path)
    try #require(run.status == 0, "\(run.errors)")
    try world.letCharacterOverflow()
    let prompts = #"{"id": "a", "prompt": "Z"}"#
    try world.put("bad.jsonl", prompts + "\n")
    let outcome = try Command.run(
      "eagle-run",
      ["bench", "--target", "target", "--draft", "out/export", "--prompts", "bad.jsonl", "--max-tokens", "5"],
      in: world.path)
    #expect(outcome.status == 1 && outcome.errors.contains("not finite"), "\(outcome.errors)")
  }
}
