import EagleRunFiles
import Foundation
import Testing

/// What `evaluate.*` and `bench` measure in addition to the acceptance length.
@Suite(.serialized) struct EvaluationSettingsTests {
  /// A finished run with six prompts.
  private func world(_ settings: String...) throws -> TinyWorld {
    let world = try TinyWorld(conversations: 30)
    let prompts = (0..<6).map { #"{"id": "p\#($0)", "prompt": "question \#($0) of the river"}"# }
    try world.put("prompts.jsonl", prompts.joined(separator: "\n") + "\n")
    let all = (["train.epochs=1", "evaluate.limit=6"] + settings).flatMap { ["--set", $0] }
    let outcome = try Command.run("eagle-train", ["run", "recipe.yaml"] + all, in: world.path)
    try #require(outcome.status == 0, "\(outcome.errors)")
    return world
  }

  private func arguments(_ settings: [String]) -> [String] {
    ["evaluate", "recipe.yaml"] + (["evaluate.limit=6"] + settings).flatMap { ["--set", $0] }
  }

  private func evaluate(_ world: TinyWorld, _ settings: String...) throws -> BenchmarkResult {
    let outcome = try Command.run("eagle-train", arguments(settings), in: world.path)
    try #require(outcome.status == 0, "\(outcome.errors)")
    let results = try JSONDecoder().decode([String: BenchmarkResult].self, from: Data(outcome.output.utf8))
    return try #require(results["few"])
  }

  @Test("every value comes with its interval and its counts by prompt, on any number of ranks")
  func intervals() throws {
    let world = try world()
    let record = try #require(try EvaluationFile.read(world("out/evaluation.json")).last)
    let few = try #require(record.benchmarks["few"])
    let interval = try #require(few.accLengthInterval)
    #expect(interval.low <= few.accLength && few.accLength <= interval.high)
    #expect(record.meanAccLengthInterval == interval && few.speedupInterval != nil)
    let counts = try #require(few.byPrompt)
    #expect(counts.count == 6 && counts.tokens.reduce(0, +) == few.counts?.speculative.decodedTokens)
    #expect(counts.accLength(of: Array(0..<6)) == few.accLength && counts.plainTokens == counts.tokens)
    #expect(few.promptsDigest == record.conditions?.prompts["few"])
    let page = String(decoding: try world.read("out/report.html"), as: UTF8.self)
    #expect(page.contains("<data value=\"\(interval.low)\">") && page.contains("Brackets hold 95 % intervals"))
    #expect(page.contains("rounds that accepted up to each position") && page.contains("held out, accuracy"))
    let two = try Command.runRanks(2, arguments([]), in: world.path)
    try #require(two.status == 0, "\(two.errors)")
    let ranks = try JSONDecoder().decode([String: BenchmarkResult].self, from: Data(two.output.utf8))
    #expect(ranks["few"]?.byPrompt?.tokens == counts.tokens && ranks["few"]?.accLengthInterval == interval)
    #expect(two.errors.contains("95 % interval") && two.errors.contains("  mean"), "\(two.errors)")
  }

  @Test("compare tells two epochs apart prompt by prompt, and refuses other prompts")
  func comparison() throws {
    let world = try world()
    let outcome = try Command.run("eagle-train", ["compare", "out#0", "out"], in: world.path)
    #expect(outcome.status == 0, "\(outcome.errors)")
    #expect(outcome.output.contains("A: out/evaluation.json, epoch 0") && outcome.output.contains("B - A"))
    let first = try evaluate(world, "evaluate.limit=3")
    try world.put("three.json", String(decoding: try JSONEncoder().encode(["few": first]), as: UTF8.self))
    let other = try Command.run("eagle-train", ["compare", "out", "three.json"], in: world.path)
    #expect(other.status == 1 && other.errors.contains("three.json: its prompts of few are not those of"))
    let json = try Command.run("eagle-train", ["compare", "out", "out", "--json"], in: world.path)
    let fields = try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any]
    #expect((fields?["mean"] as? [String: Any])?["difference"] as? Double == 0, "\(json.output)")
  }

  @Test("sampled texts have an acceptance length, the same for the same seed, and are not compared with plain ones")
  func temperature() throws {
    let world = try world()
    let first = try evaluate(world, "evaluate.temperature=1")
    #expect(first.temperature == 1 && first.differing == 0 && first.accLength >= 1)
    let again = try evaluate(world, "evaluate.temperature=1")
    #expect(again.byPrompt?.tokens == first.byPrompt?.tokens && again.byPrompt?.passes == first.byPrompt?.passes)
    let other = try evaluate(world, "evaluate.temperature=1", "evaluate.seed=1")
    #expect(other.byPrompt != first.byPrompt)
    let bench = try Command.run(
      "eagle-run",
      [
        "bench", "--target", "target", "--draft", "out/export", "--prompts", "prompts.jsonl", "--max-tokens", "8",
        "--temperature", "1", "--draft-length", "2", "--context-length", "64", "--context-length", "100",
      ], in: world.path)
    #expect(bench.status == 0 && bench.output.contains("not compared"), "\(bench.errors)")
    #expect(bench.output.contains("  100: prompts") && bench.output.contains("95 % interval of the ratio"))
  }

  @Test("prompts behind a context have nearly as many tokens as asked for, and those that do not fit are refused")
  func contexts() throws {
    let world = try world("evaluate.context_lengths=[70, 200]")
    let few = try #require(try EvaluationFile.read(world("out/evaluation.json")).last?.benchmarks["few"])
    let contexts = try #require(few.contexts)
    #expect(contexts.map(\.contextLength) == [70, 200] && contexts.allSatisfy { $0.result.prompts == 6 })
    for context in contexts {
      // because: white space at the end of a context is cut off
      #expect(context.promptTokens <= Double(context.contextLength))
      #expect(context.promptTokens > Double(context.contextLength) - 4, "\(context.promptTokens)")
      #expect(context.result.differing == 0)
    }
    let page = String(decoding: try world.read("out/report.html"), as: UTF8.self)
    #expect(page.contains("by length of the context"))
    let long = try Command.run("eagle-train", arguments(["evaluate.context_lengths=[501]"]), in: world.path)
    #expect(long.status == 1, "\(long.errors)")
    #expect(
      long.errors.contains(
        "evaluate.context_lengths: a prompt of 501 tokens and an answer of up to 12 do not fit into the target's 512"),
      "\(long.errors)")
  }

  @Test("validation prompts choose the best head and are in no reported number")
  func validation() throws {
    let world = try world("evaluate.validation=0.34")
    let record = try #require(try EvaluationFile.read(world("out/evaluation.json")).last)
    #expect(record.benchmarks["few"]?.prompts == 4 && record.validation?["few"]?.prompts == 2)
    #expect(record.score == record.validation?["few"]?.accLength)
    #expect(record.conditions?.validation?["few"] != record.conditions?.prompts["few"])
    let page = String(decoding: try world.read("out/report.html"), as: UTF8.self)
    #expect(page.contains("The best epoch was chosen by") && page.contains("which are in no other number"))
    #expect(try evaluate(world, "evaluate.validation=0.34").prompts == 4)
    let one = try Command.run(
      "eagle-train", arguments(["evaluate.validation=0.5", "evaluate.limit=1"]), in: world.path)
    #expect(one.status == 1 && one.errors.contains("has one prompt, which evaluate.validation cannot divide"))
  }

  @Test("reasoning is switched where the chat template has a switch, and refused elsewhere")
  func reasoning() throws {
    let world = try world()
    let refused = try Command.run("eagle-train", arguments(["evaluate.reasoning=off"]), in: world.path)
    #expect(refused.status == 1, "\(refused.errors)")
    #expect(
      refused.errors.contains("does not read enable_thinking, which evaluate.reasoning: off sets"), "\(refused.errors)")
    let path = "target/tokenizer_config.json"
    var fields = try #require(try JSONSerialization.jsonObject(with: world.read(path)) as? [String: Any])
    let template = try #require(fields["chat_template"] as? String)
    fields["chat_template"] =
      template + "{% if add_generation_prompt and enable_thinking is defined and not enable_thinking %}<think>"
      + "</think>{% endif %}"
    try JSONSerialization.data(withJSONObject: fields).write(to: URL(fileURLWithPath: world(path)))
    func promptTokens(_ reasoning: String) throws -> Int? {
      try evaluate(world, "evaluate.reasoning=\(reasoning)").counts?.speculative.promptTokens
    }
    // 15 bytes more in each of six prompts.
    let on = try #require(try promptTokens("on"))
    #expect(try promptTokens("off") == on + 90 && promptTokens("auto") == on)
  }
}
