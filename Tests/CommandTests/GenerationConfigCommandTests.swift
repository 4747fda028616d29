import EagleCore
import Foundation
import Testing

/// What `generation_config.json` of a target changes, and what it does not.
@Suite(.serialized) struct GenerationConfigCommandTests {
  private func generate(_ world: TinyWorld, _ flags: [String] = []) throws -> (outcome: Outcome, text: String) {
    let outcome = try Command.run(
      "eagle-run", ["generate", "--target", "target", "--prompt", "cloud 7", "--max-tokens", "30", "--json"] + flags,
      in: world.path)
    let answer = try? JSONSerialization.jsonObject(with: Data(outcome.output.utf8)) as? [String: Any]
    return (outcome, answer?["text"] as? String ?? "")
  }

  @Test("generate samples as the file recommends, says so, and flags override it")
  func samplingDefaults() throws {
    let world = try TinyWorld()
    let (greedy, sampled) = (try generate(world), try generate(world, ["--temperature", "1.5", "--top-k", "9"]))
    #expect(!greedy.outcome.errors.contains("sampling"))
    #expect(greedy.text != sampled.text)
    try world.put("target/generation_config.json", #"{"do_sample": true, "temperature": 1.5, "top_k": 9}"#)
    let recommended = try generate(world)
    #expect(recommended.text == sampled.text)
    #expect(recommended.outcome.errors.contains("sampling: temperature 1.5, top_k 9 (from generation_config.json"))
    let overridden = try generate(world, ["--temperature", "0"])
    #expect(overridden.text == greedy.text && overridden.outcome.errors.contains("sampling: greedy"))
    try world.put("target/generation_config.json", #"{"do_sample": false, "temperature": 1.5}"#)
    #expect(try generate(world).text == greedy.text)
  }

  @Test("chat and serve say what they sample with; bench, which measures, does not sample")
  func otherCommands() throws {
    let world = try TinyWorld(conversations: 20)
    try world.put("target/generation_config.json", #"{"temperature": 0.7, "top_p": 0.8}"#)
    let line = "sampling: temperature 0.7, top_p 0.8"
    let chat = try Command.run(
      "eagle-run", ["chat", "--target", "target", "--max-tokens", "5"], in: world.path, input: Data("hello\n".utf8))
    #expect(chat.status == 0 && chat.errors.contains(line), "\(chat.errors)")
    #expect(try Served(world).running.errors.contains("\(line) (from generation_config.json; requests override it)"))
    let run = try Command.run("eagle-train", ["run", "recipe.yaml", "--set", "train.epochs=1"], in: world.path)
    #expect(run.status == 0 && !run.errors.contains("sampling:"), "\(run.errors)")
    let arguments = ["bench", "--target", "target", "--draft", "out/export", "--prompts", "prompts.jsonl"]
    let bench = try Command.run("eagle-run", arguments + ["--max-tokens", "8"], in: world.path)
    #expect(bench.status == 0 && !bench.errors.contains("sampling:"), "\(bench.errors)")
  }

  @Test("an end of text that only generation_config.json names ends a text")
  func stopIDs() throws {
    let world = try TinyWorld(endless: true)
    let whole = try generate(world)
    let answer = try #require(try JSONSerialization.jsonObject(with: Data(whole.outcome.output.utf8)) as? [String: Any])
    let tokens = try #require(answer["tokens"] as? [Int])
    let stop = try #require(tokens.dropFirst(5).first { !tokens.prefix(5).contains($0) })
    for ids in ["\(stop)", "[0, \(stop)]"] {
      try world.put("target/generation_config.json", #"{"eos_token_id": \#(ids)}"#)
      let short = try generate(world)
      let answer = try #require(
        try JSONSerialization.jsonObject(with: Data(short.outcome.output.utf8)) as? [String: Any])
      #expect((answer["tokens"] as? [Int])?.last == stop && answer["finish_reason"] as? String == "stop")
    }
    try world.put("target/generation_config.json", #"{"eos_token_id": 4000}"#)
    let wrong = try generate(world).outcome
    #expect(wrong.status == 1 && wrong.errors.contains("generation_config.json") && wrong.errors.contains("4000"))
  }
}
