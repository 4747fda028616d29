import EagleTensor
import Foundation
import Testing

/// One clear error, status 1 (64 for wrong usage), and no incomplete files.
@Suite(.serialized) struct BadInputTests {
  private func fails(
    _ world: TinyWorld, _ arguments: [String], saying words: String..., program: String = "eagle-train",
    location: SourceLocation = #_sourceLocation
  ) throws {
    let outcome = try Command.run(program, arguments, in: world.path)
    #expect(outcome.status == 1, "\(outcome.errors)", sourceLocation: location)
    let line = outcome.errors.split(separator: "\n").first { $0.contains("Error:") } ?? ""
    for word in words { #expect(line.contains(word), "\(outcome.errors)", sourceLocation: location) }
  }

  @Test("a missing or wrong recipe is refused, and no output folder is made") func recipes() throws {
    let world = try TinyWorld()
    try fails(world, ["prepare", "nothing.yaml"], saying: "nothing.yaml")
    try fails(world, ["prepare", "recipe.yaml", "--set", "train.epoch=3"], saying: "train.epoch", "train.epochs")
    try fails(world, ["prepare", "recipe.yaml", "--set", "train.clip_norm=-1"], saying: "clip_norm")
    #expect(!FileManager.default.fileExists(atPath: world("out")))
  }

  @Test("training data that are missing, broken or without answers are refused") func data() throws {
    let world = try TinyWorld()
    try fails(world, ["prepare", "recipe.yaml", "--set", "data.train=[missing.jsonl]"], saying: "missing.jsonl")
    try world.put("broken.jsonl", "{\"id\": \"a\"\n" + String(decoding: try world.read("data.jsonl"), as: UTF8.self))
    try fails(world, ["prepare", "recipe.yaml", "--set", "data.train=[broken.jsonl]"], saying: "broken.jsonl", "1 %")
    try world.put("silent.jsonl", #"{"id": "x", "conversations": [{"role": "user", "content": "hello"}]}"# + "\n")
    try fails(world, ["prepare", "recipe.yaml", "--set", "data.train=[silent.jsonl]"], saying: "no conversation")
    #expect(!FileManager.default.fileExists(atPath: world("out/prepared")))
  }

  @Test("target files that are truncated or inconsistent are refused") func targets() throws {
    let world = try TinyWorld()
    let weights = try world.read("target/model.safetensors")
    try weights.prefix(weights.count / 2).write(to: URL(fileURLWithPath: world("target/model.safetensors")))
    try fails(world, ["capture", "recipe.yaml"], saying: "model.safetensors")
    try weights.write(to: URL(fileURLWithPath: world("target/model.safetensors")))
    let config = String(decoding: try world.read("target/config.json"), as: UTF8.self)
    try world.put("target/config.json", config.replacingOccurrences(of: "259", with: "258"))
    try fails(world, ["capture", "recipe.yaml"], saying: "embed_tokens")
    try world.put("target/config.json", config)
    try world.put("model.gguf", "GGUF")
    try fails(world, ["import", "model.gguf", "--output", "imported"], saying: "model.gguf")
    #expect(!FileManager.default.fileExists(atPath: world("imported")))
  }

  @Test("sizes of a config.json that no weights can have are an error")
  func absurdSizes() throws {
    let world = try TinyWorld()
    let config = try JSONSerialization.jsonObject(with: world.read("target/config.json")) as? [String: Any] ?? [:]
    for (key, value) in [
      ("num_hidden_layers", 9_000_000_000_000_000_000), ("num_hidden_layers", 1 << 30), ("head_dim", 1 << 62),
      ("num_attention_heads", 1 << 40), ("max_position_embeddings", 1 << 50), ("max_position_embeddings", .max),
      ("vocab_size", 1 << 30), ("hidden_size", 1 << 30), ("intermediate_size", 1 << 30),
    ] as [(String, Int)] {
      let changed = config.merging([key: value]) { $1 }
      try JSONSerialization.data(withJSONObject: changed).write(to: URL(fileURLWithPath: world("target/config.json")))
      try fails(
        world, ["generate", "--target", "target", "--prompt", "x"], saying: "config.json", program: "eagle-run")
    }
  }

  @Test("a capture manifest with counts that cannot be is an error")
  func absurdManifests() throws {
    let world = try TinyWorld()
    #expect(try Command.run("eagle-train", ["capture", "recipe.yaml"], in: world.path).status == 0)
    let manifest = String(decoding: try world.read("out/capture/manifest.json"), as: UTF8.self)
    for (key, value) in [
      ("conversations", "-1"), ("rows", "-1"), ("rows", "9223372036854775807"), ("hidden_size", "0"),
    ] {
      try world.put(
        "out/capture/manifest.json",
        manifest.replacing(try Regex("\"\(key)\" : [0-9]+"), with: "\"\(key)\" : \(value)"))
      try fails(world, ["inspect", "out/capture"], saying: "manifest.json")
    }
  }

  @Test("conversations in a pipe are refused: they are read twice")
  func pipes() throws {
    let world = try TinyWorld()
    let line =
      "exec \(Command.binaries)/eagle-train prepare recipe.yaml --set 'data.train=[/dev/fd/63]' 63< <(cat data.jsonl)"
    let outcome = try Command.run("/usr/bin/env", ["bash", "-c", line], in: world.path)
    #expect(outcome.status == 1 && outcome.errors.contains("/dev/fd/63: is no regular file"), "\(outcome.errors)")
  }

  @Test("a tokenizer with more tokens than the target is refused") func aTokenizerOfAnotherModel() throws {
    let world = try TinyWorld()
    var tokenizer = try JSONSerialization.jsonObject(with: world.read("target/tokenizer.json")) as? [String: Any] ?? [:]
    var added = tokenizer["added_tokens"] as? [[String: Any]] ?? []
    added.append(added[0].merging(["id": 300, "content": "<|extra|>"]) { $1 })
    tokenizer["added_tokens"] = added
    try JSONSerialization.data(withJSONObject: tokenizer)
      .write(to: URL(fileURLWithPath: world("target/tokenizer.json")))
    try fails(world, ["capture", "recipe.yaml"], saying: "tokenizer")
  }

  @Test("capture refuses layers that the target lacks, and settings that contradict its store") func stores() throws {
    let world = try TinyWorld()
    #expect(try Command.run("eagle-train", ["capture", "recipe.yaml"], in: world.path).status == 0)
    try fails(world, ["capture", "recipe.yaml", "--set", "capture.layers=[0, 2, 5]"], saying: "layers", "[0, 2, 5]")
    try fails(
      world, ["capture", "recipe.yaml", "--set", "capture.layers=[0, 2, 9]", "--set", "output=new"], saying: "[0, 2, 9]"
    )
    if Matmul.hasBFloat16Products {
      let shard = try world.read("out/capture/shard-00000.h5")
      try fails(world, ["capture", "recipe.yaml", "--set", "target.precision=bf16"], saying: "precision fp32", "bf16")
      #expect(try world.read("out/capture/shard-00000.h5") == shard)
    }
  }

  /// Each of these errors was once detected only after capture.
  @Test("what cannot work is refused before anything is written")
  func foundBeforeTheFirstStage() throws {
    let world = try TinyWorld()
    try world.put("long.jsonl", #"{"id": "long", "prompt": "\#(String(repeating: "long ", count: 120))"}"# + "\n")
    #expect(
      try Command.run("eagle-train", ["run", "recipe.yaml", "--set", "output=other"], in: world.path).status == 0)
    for (setting, words) in [
      ("evaluate.benchmarks={few: missing.jsonl}", ["missing.jsonl"]),
      ("evaluate.benchmarks={few: long.jsonl}", ["the prompt long", "512 positions"]),
      ("evaluate.draft_length=300", ["evaluate.draft_length", "256 or less"]),
      ("data.max_length=1800", ["data.max_length", "512"]),
      ("draft.vocabulary_size=300", ["draft.vocabulary_size", "259"]),
      ("draft.intermediate_size=1073741824", ["the head's weights and gradients take", "draft.intermediate_size"]),
      ("capture.layers=[0, 2, 9]", ["[0, 2, 9]"]),
      ("draft.init_from=nowhere", ["nowhere"]),
    ] {
      let outcome = try Command.run("eagle-train", ["run", "recipe.yaml", "--set", setting], in: world.path)
      #expect(outcome.status == 1 && words.allSatisfy(outcome.errors.contains), "\(setting): \(outcome.errors)")
      let made = (try? FileManager.default.contentsOfDirectory(atPath: world("out"))) ?? []
      #expect(made.allSatisfy { $0.hasPrefix(".") }, "\(setting): \(made)")
    }
    for more in [["capture.layers=[0, 2, 5]"], ["capture.layers=auto", "draft.start=fitted"]] {
      let settings = (more + ["draft.init_from=other/export"]).flatMap { ["--set", $0] }
      let outcome = try Command.run("eagle-train", ["run", "recipe.yaml"] + settings, in: world.path)
      #expect(
        outcome.status == 1 && outcome.errors.contains(more.count == 1 ? "this head reads layers" : "draft.start"))
      #expect(!FileManager.default.fileExists(atPath: world("out/prepared")))
    }
  }

  @Test("a start that is refused leaves the run as it was")
  func refusedStartsChangeNothing() throws {
    let world = try TinyWorld()
    #expect(try Command.run("eagle-train", ["run", "recipe.yaml"], in: world.path).status == 0)
    let files = ["prepared/manifest.json", "recipe.json", "capture/manifest.json", "metrics.jsonl", "evaluation.json"]
    let before = try files.map { try world.read("out/\($0)") }
    for (setting, words) in [
      ("data.max_length=60", ["other data"]), ("data.trained_turns=all", ["other data"]),
      ("train.beta1=0.5", ["other settings", "train.beta1 0.9, and now it is 0.5"]),
      ("train.ttt_length=2", ["train.ttt_length 3, and now it is 2"]),
    ] {
      for command in ["run", "prepare"] where command == "run" || setting.hasPrefix("data.") {
        let outcome = try Command.run("eagle-train", [command, "recipe.yaml", "--set", setting], in: world.path)
        #expect(outcome.status == 1 && words.allSatisfy(outcome.errors.contains), "\(setting): \(outcome.errors)")
        #expect(try files.map { try world.read("out/\($0)") } == before, "\(command) \(setting)")
      }
    }
    // These settings do not affect the steps.
    for setting in ["capture.shard_tokens=2000", "capture.mode=online", "train.checkpoint_minutes=1"] {
      let outcome = try Command.run("eagle-train", ["run", "recipe.yaml", "--set", setting], in: world.path)
      #expect(outcome.status == 0, "\(setting): \(outcome.errors)")
    }
  }

  @Test("ranks with different recipes end with an error") func ranksThatDisagree() throws {
    let world = try TinyWorld()
    try world.put(
      "rank.sh",
      """
      #!/bin/sh
      exec "$1" prepare recipe.yaml --set train.seed=$OMPI_COMM_WORLD_RANK

      """)
    var flags = ["mpirun", "-np", "2", "--oversubscribe", "--bind-to", "none"]
    if getuid() == 0 { flags.append("--allow-run-as-root") }
    let outcome = try Command.run(
      "/usr/bin/env", flags + ["sh", "rank.sh", "\(Command.binaries)/eagle-train"], in: world.path)
    #expect(outcome.status != 0 && outcome.errors.contains("disagree about the recipe"), "\(outcome.errors)")
  }

  @Test("train refuses to overwrite a run, and resumes it with --resume") func runsThatExistAreNotOverwritten() throws {
    let world = try TinyWorld(conversations: 20)
    let arguments = ["train", "recipe.yaml", "--set", "train.epochs=1"]
    #expect(try Command.run("eagle-train", arguments, in: world.path).status == 0)
    try fails(world, arguments, saying: "--resume")
    #expect(try Command.run("eagle-train", arguments + ["--resume"], in: world.path).status == 0)
  }

  @Test("a draft folder that is missing or holds no draft head is refused") func headsOfAnotherTarget() throws {
    let world = try TinyWorld()
    try fails(
      world, ["generate", "--target", "target", "--draft", "target", "--prompt", "x"], saying: "draft_vocab_size",
      program: "eagle-run")
    try fails(
      world, ["bench", "--target", "target", "--draft", "nowhere", "--prompts", "prompts.jsonl"], saying: "nowhere",
      program: "eagle-run")
  }

  @Test("wrong usage exits with status 64") func wrongUsage() throws {
    let world = try TinyWorld()
    for (program, arguments) in [
      ("eagle-train", ["prepare"]), ("eagle-train", ["dance"]), ("eagle-run", ["generate", "--prompt", "x"]),
      ("eagle-run", ["bench", "--target", "target", "--prompts", "prompts.jsonl"]),
      ("eagle-run", ["serve", "--target", "target", "--stop-seconds", "inf"]),
      ("eagle-run", ["serve", "--target", "target", "--stop-seconds", "1e30"]),
      ("eagle-train", ["bench", "gemm", "--shape", "smollm2-135m", "--tokens", "9223372036854775807"]),
      ("eagle-train", ["bench", "gemm", "--shape", "smollm2-135m", "--conversations", "9223372036854775807"]),
      ("eagle-train", ["bench", "gemm", "--shape", "smollm2-135m", "--ttt-length", "9223372036854775807"]),
    ] {
      #expect(try Command.run(program, arguments, in: world.path).status == 64, "\(arguments)")
    }
  }
}
