import EagleStorage
import Foundation
import Testing

/// Heads as GGUF files: exported, decoded with, tuned, evaluated and rejected.
@Suite(.serialized) struct HeadFileCommandTests {
  private func run(_ world: TinyWorld, _ program: String, _ arguments: [String]) throws -> Outcome {
    try Command.run(program, arguments, in: world.path)
  }

  private func generate(_ world: TinyWorld, _ flags: [String]) throws -> [String: Any] {
    let outcome = try run(
      world, "eagle-run",
      ["generate", "--target", "target", "--max-tokens", "40", "--prompt", "cloud 7", "--json"] + flags)
    try #require(outcome.status == 0, "\(outcome.errors)")
    return try JSONSerialization.jsonObject(with: Data(outcome.output.utf8)) as? [String: Any] ?? [:]
  }

  @Test("a head as a file drafts as its folder does, and is used wherever a head is named")
  func filesAreHeads() throws {
    let world = try TinyWorld(conversations: 30)
    let trained = try run(world, "eagle-train", ["run", "recipe.yaml", "--set", "train.epochs=1"])
    try #require(trained.status == 0, "\(trained.errors)")
    let checkpoints = try FileManager.default.contentsOfDirectory(atPath: world("out")).filter { $0.hasPrefix("step-") }
    let step = "out/\(try #require(checkpoints.max()))"
    for type in ["bf16", "q8_0", "q4_0"] {
      let export = try run(world, "eagle-train", ["export", step, "--output", "head-\(type).gguf", "--type", type])
      #expect(export.status == 0 && export.errors.contains("exported step"), "\(export.errors)")
    }
    // The folder of the same head gives the same file.
    let again = try run(
      world, "eagle-train", ["export", "out/export", "--target", "target", "--output", "again.gguf"])
    #expect(again.status == 0, "\(again.errors)")
    #expect(try world.read("again.gguf") == world.read("head-bf16.gguf"))
    let plain = try generate(world, [])["text"] as? String
    let length = ["--draft-length", "4"]
    let folder = try generate(world, ["--draft", "out/export"] + length)
    func counts(_ answer: [String: Any]) -> [Int?] {
      let counts = answer["counts"] as? [String: Any]
      return ["rounds", "drafted_tokens", "decoded_tokens"].map { counts?[$0] as? Int }
    }
    let file = try generate(world, ["--draft", "head-bf16.gguf"] + length)
    #expect(file["text"] as? String == plain && counts(file) == counts(folder))
    for type in ["q8_0", "q4_0"] {
      let own = try generate(world, ["--draft", "head-\(type).gguf"] + length)
      let loaded = try generate(world, ["--draft", "out/export", "--draft-weights", type] + length)
      #expect(own["text"] as? String == plain && counts(own) == counts(loaded))
    }
    try tunes(world)
    try areTrained(world)
    try refuses(world)
  }

  @Test("a checkpoint of a longer target.context is exported with that context, and its head with --context")
  func contextOfTheCheckpoint() throws {
    let world = try TinyWorld(conversations: 20)
    let path = URL(fileURLWithPath: world("target/config.json"))
    var config = try #require(try JSONSerialization.jsonObject(with: Data(contentsOf: path)) as? [String: Any])
    config["rope_scaling"] = ["rope_type": "dynamic", "factor": 2.0] as [String: Any]
    try JSONSerialization.data(withJSONObject: config).write(to: path)
    let settings = ["target.context=1024", "draft.rope_scaling=target", "train.epochs=1", "evaluate.benchmarks={}"]
    let trained = try run(world, "eagle-train", ["run", "recipe.yaml"] + settings.flatMap { ["--set", $0] })
    try #require(trained.status == 0, "\(trained.errors)")
    let checkpoints = try FileManager.default.contentsOfDirectory(atPath: world("out")).filter { $0.hasPrefix("step-") }
    let step = "out/\(try #require(checkpoints.max()))"
    let heads = [
      ["export", step, "--output", "from-checkpoint"],
      ["export", "out/export", "--target", "target", "--context", "1024", "--output", "from-head"],
    ]
    for arguments in heads {
      let export = try run(world, "eagle-train", arguments)
      #expect(export.status == 0, "\(export.errors)")
      let written = try JSONSerialization.jsonObject(with: world.read("\(arguments.last!)/config.json"))
      #expect((written as? [String: Any])?["max_position_embeddings"] as? Int == 1024)
    }
  }

  private func tunes(_ world: TinyWorld) throws {
    let tune = try run(
      world, "eagle-run",
      [
        "tune", "--target", "target", "--draft", "head-q8_0.gguf", "--plan", "2", "--prompts", "prompts.jsonl",
        "--max-tokens", "10",
      ])
    #expect(tune.status == 0 && tune.output.contains("written to head-q8_0.decoding.json"), "\(tune.errors)")
    _ = try generate(world, ["--draft", "head-q8_0.gguf"])
    let other = try run(
      world, "eagle-run",
      ["generate", "--target", "target", "--prompt", "x", "--weights", "q4_0", "--draft", "head-q8_0.gguf"])
    #expect(other.status == 0 && other.errors.contains("head-q8_0.decoding.json is for another"), "\(other.errors)")
    let fallback = try run(
      world, "eagle-run", ["generate", "--target", "target", "--prompt", "x", "--weights", "q4_k"])
    let line = "matrices in q5_0 in place of q4_k: rows of \(TinyWorld.hidden)"
    #expect(fallback.status == 0 && fallback.errors.contains("weights of the target: "), "\(fallback.errors)")
    #expect(fallback.errors.contains(line) && !fallback.output.contains(line), "\(fallback.errors)")
    let evaluated = try run(world, "eagle-train", ["evaluate", "recipe.yaml", "--draft", "head-q8_0.gguf"])
    #expect(evaluated.status == 0, "\(evaluated.errors)")
    let inspected = try run(world, "eagle-train", ["inspect", "head-q8_0.gguf"])
    #expect(inspected.output.hasPrefix("EAGLE-3 draft head: layers [") && inspected.output.contains("Q8_0"))
  }

  /// A file can be fine-tuned, in its original format and quantised.
  private func areTrained(_ world: TinyWorld) throws {
    for type in ["bf16", "q4_0"] {
      let settings = ["output=tuned-\(type)", "draft.init_from=head-\(type).gguf", "train.epochs=1"]
      let tuned = try run(world, "eagle-train", ["run", "recipe.yaml"] + settings.flatMap { ["--set", $0] })
      #expect(tuned.status == 0 && tuned.errors.contains("fine-tuning head-\(type).gguf"), "\(tuned.errors)")
      #expect(tuned.errors.contains("is quantised to Q4_0") == (type == "q4_0"))
    }
  }

  private func refuses(_ world: TinyWorld) throws {
    let quantised = try run(
      world, "eagle-train", ["export", "head-q8_0.gguf", "--target", "target", "--output", "x.gguf"])
    #expect(quantised.status == 1 && quantised.errors.contains("quantised (Q8_0)"), "\(quantised.errors)")
    let folder = try run(
      world, "eagle-train", ["export", "out/export", "--target", "target", "--output", "x", "--type", "q8_0"])
    #expect(folder.status == 64 && folder.errors.contains("--type is for"), "\(folder.errors)")
    let nameless = try run(world, "eagle-train", ["export", "out/export", "--output", "x.gguf"])
    #expect(nameless.status == 64 && nameless.errors.contains("--target"), "\(nameless.errors)")
    // Two tokens change their ids: another tokenizer over the same sizes.
    let file = try GGUFFile(path: world("head-bf16.gguf"))
    var tokens = try file.strings("tokenizer.ggml.tokens")
    tokens.swapAt(40, 41)
    let key = "tokenizer.ggml.tokens"
    try GGUFWriter.write(
      path: world("swapped.gguf"), fields: file.fields(prefix: "").filter { $0.key != key } + [.strings(key, tokens)],
      tensors: try file.tensors.map { ($0.name, try file.stored($0.name)) })
    let swapped = try run(
      world, "eagle-run", ["generate", "--target", "target", "--prompt", "x", "--draft", "swapped.gguf"])
    #expect(swapped.status == 1 && swapped.errors.contains("another target: its token 40"), "\(swapped.errors)")
  }
}
