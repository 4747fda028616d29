import EagleCore
import EagleStorage
import EagleText
import Foundation
import Testing

@Suite(.serialized) struct RunTests {
  private struct Line: Decodable {
    let step: Int
    let loss: Double
  }

  private func losses(_ world: TinyWorld, _ output: String = "out") throws -> [Line] {
    let text = String(decoding: try world.read("\(output)/metrics.jsonl"), as: UTF8.self)
    return try text.split(separator: "\n").map { try JSONDecoder().decode(Line.self, from: Data($0.utf8)) }
  }

  private func mean(_ lines: [Line]) -> Double { lines.reduce(0) { $0 + $1.loss } / Double(lines.count) }

  private func lastState(_ world: TinyWorld, _ output: String) throws -> Data {
    let name = try #require(try CheckpointFolder.names(in: world(output)).last)
    return try world.read("\(output)/\(name)/state.safetensors")
  }

  private func run(_ world: TinyWorld, _ arguments: String...) throws -> Outcome {
    try Command.run("eagle-train", ["run", "recipe.yaml"] + arguments, in: world.path)
  }

  @Test("a run exports a head that keeps greedy text, and repeats no finished stage")
  func everythingFromConversationsToText() throws {
    let world = try TinyWorld()
    let first = try run(world)
    #expect(first.status == 0, "\(first.errors)")
    // The head is as large as its target, and its acceptance is low.
    #expect(first.errors.contains(/warning: a held-out acceptance length of 1\.\d\d predicts 0\.\d\d times the speed/))
    for file in [
      "prepared/tokens-00000.h5", "capture/manifest.json", "export/config.json", "evaluation.json", "latest", "best",
    ] {
      #expect(FileManager.default.fileExists(atPath: world("out/\(file)")), "\(file)")
    }
    let records = try JSONSerialization.jsonObject(with: world.read("out/evaluation.json")) as? [[String: Any]] ?? []
    #expect(records.compactMap { $0["epoch"] as? Int } == [0, 1, 2])
    let few = (records.last?["benchmarks"] as? [String: [String: Any]])?["few"]
    #expect(few?["differing"] as? Int == 0 && few?["prompts"] as? Int == 2)
    let plain = try generate(world, [])
    #expect(try generate(world, ["--draft", "out/export"]) == plain && !plain.isEmpty)
    let second = try run(world)
    #expect(second.status == 0 && second.errors.contains("prepare: up to date"), "\(second.errors)")
    #expect(second.errors.contains("capture: up to date") && !second.errors.contains("train: 1/"))
  }

  private func generate(_ world: TinyWorld, _ arguments: [String]) throws -> [Int] {
    let outcome = try Command.run(
      "eagle-run", ["generate", "--target", "target", "--prompt", "hello", "--max-tokens", "40", "--json"] + arguments,
      in: world.path)
    #expect(outcome.status == 0, "\(outcome.errors)")
    let answer = try JSONSerialization.jsonObject(with: Data(outcome.output.utf8)) as? [String: Any]
    return answer?["tokens"] as? [Int] ?? []
  }

  /// Every variant that a recipe can select is trained and decoded with, and does not change the text.
  @Test(
    "variants of the draft head train on two ranks and keep greedy text",
    arguments: [
      ["draft.norm_before_fc=true", "draft.norm_output=true", "draft.start=fitted"],
      ["draft.fc_norm=true", "draft.qk_norm=true", "draft.sliding_window=64", "train.feature_rates=by-size"],
      ["draft.vocabulary_size=all", "draft.lm_head=target", "train.mean=conversations", "train.loss=kl-tv"],
      [
        "draft.hidden_size=16", "draft.embedding=own", "draft.norm_before_residual=true", "capture.layers=[0, 2, 3, 4]",
      ],
    ])
  func variants(settings: [String]) throws {
    let world = try TinyWorld()
    let all = (settings + ["train.epochs=1"]).flatMap { ["--set", $0] }
    let outcome = try Command.runRanks(2, ["run", "recipe.yaml"] + all, in: world.path)
    try #require(outcome.status == 0, "\(outcome.errors)")
    #expect(try generate(world, ["--draft", "out/export"]) == generate(world, []))
    let again = try Command.run("eagle-train", ["run", "recipe.yaml"] + all, in: world.path)
    #expect(again.status == 0 && !again.errors.contains("train: 1/"), "\(again.errors)")
    let shown = try Command.run("eagle-train", ["inspect", "out/export"], in: world.path)
    #expect(shown.output.hasPrefix("EAGLE-3 draft head in the layout ") && !shown.output.contains("no switches"))
  }

  @Test("two ranks give the losses of one") func twoRanksGiveTheLossesOfOne() throws {
    let world = try TinyWorld()
    let alone = try run(world, "--set", "train.epochs=4")
    let ranks = try Command.runRanks(
      2, ["run", "recipe.yaml", "--set", "train.epochs=4", "--set", "output=two"], in: world.path)
    #expect(alone.status == 0 && ranks.status == 0, "\(ranks.errors)")
    let (one, two) = (try losses(world), try losses(world, "two"))
    #expect(one.count == two.count && one.count >= 20)
    for (a, b) in zip(one.prefix(20), two) { #expect(abs(a.loss - b.loss) < 1e-5, "step \(a.step)") }
  }

  @Test(
    "ranks that average in two levels take the steps of one, the same bits each time, and refuse levels that are not there"
  )
  func averagingInTwoLevels() throws {
    let world = try TinyWorld()
    let settings = ["run", "recipe.yaml", "--set", "train.epochs=2", "--set", "evaluate.benchmarks={}"]
    let alone = try Command.run("eagle-train", settings, in: world.path)
    #expect(alone.status == 0, "\(alone.errors)")
    for (output, isSharded) in [("two-a", false), ("two-b", false), ("two-sharded", true)] {
      let ranks = try Command.runRanks(
        4,
        settings + [
          "--set", "cluster.averaging=two-level", "--set", "output=\(output)", "--set",
          "train.shard_optimizer=\(isSharded)",
        ], in: world.path, environment: ["EAGLE_RANKS_PER_NODE": "2", "OMP_NUM_THREADS": "1"])
      #expect(ranks.status == 0, "\(ranks.errors)")
      for (a, b) in zip(try losses(world), try losses(world, output)) {
        #expect(abs(a.loss - b.loss) < 1e-5, "step \(a.step)")
      }
    }
    #expect(try lastState(world, "two-a") == lastState(world, "two-b"))
    // The choice of auto is kept when the run resumes.
    for choice in ["two-level", "flat"] {
      try FileManager.default.createDirectory(atPath: world("kept-\(choice)"), withIntermediateDirectories: true)
      try world.put("kept-\(choice)/averaging.json", #"{"levels": "\#(choice)", "nodes": [0, 0, 2, 2]}"#)
      let kept = try Command.runRanks(
        4, settings + ["--set", "output=kept-\(choice)"], in: world.path,
        environment: ["EAGLE_RANKS_PER_NODE": "2", "OMP_NUM_THREADS": "1"])
      #expect(kept.status == 0 && !kept.errors.contains("averaging: "), "\(kept.errors)")
    }
    #expect(try lastState(world, "kept-two-level") == lastState(world, "two-a"))
    let auto = try Command.runRanks(
      4, settings + ["--set", "output=auto"], in: world.path,
      environment: ["EAGLE_RANKS_PER_NODE": "2", "OMP_NUM_THREADS": "1"])
    #expect(auto.status == 0 && auto.errors.contains("averaging: "), "\(auto.errors)")
    #expect(FileManager.default.fileExists(atPath: world("auto/averaging.json")))
    let refused = try Command.runRanks(
      2, settings + ["--set", "cluster.averaging=two-level", "--set", "output=none"], in: world.path)
    #expect(refused.status == 1 && refused.errors.contains("cluster.averaging: two levels need several nodes"))
  }

  /// A fitted head predicts before it is trained, equally on any number of ranks, and training improves it further.
  @Test("a fitted start has a lower held-out loss than a random one") func aFittedStartIsAheadOfARandomOne() throws {
    func heldOut(_ world: TinyWorld, _ output: String) throws -> [(loss: Double, accuracy: Double)] {
      let records = try JSONSerialization.jsonObject(with: world.read("\(output)/evaluation.json")) as? [[String: Any]]
      return (records ?? []).compactMap { record in
        let values = record["held_out"] as? [String: Any]
        guard let loss = values?["loss"] as? Double, let accuracy = values?["accuracy"] as? [Double] else { return nil }
        return (loss, accuracy[0])
      }
    }
    let world = try TinyWorld(conversations: 400)
    let settings = [
      "--set", "train.epochs=1", "--set", "data.held_out=0.2", "--set", "draft.vocabulary_size=259", "--set",
      "train.ttt_length=1",
    ]
    let plain = try Command.run("eagle-train", ["run", "recipe.yaml"] + settings, in: world.path)
    let fitted = settings + ["--set", "draft.start=fitted"]
    let alone = try Command.run(
      "eagle-train", ["run", "recipe.yaml", "--set", "output=fitted"] + fitted, in: world.path)
    let ranks = try Command.runRanks(2, ["run", "recipe.yaml", "--set", "output=two"] + fitted, in: world.path)
    #expect(plain.status == 0 && alone.status == 0 && ranks.status == 0, "\(alone.errors) \(ranks.errors)")
    let (random, start) = (try heldOut(world, "out"), try heldOut(world, "fitted"))
    #expect(start[0].loss < 0.95 * random[0].loss && start[0].accuracy > random[0].accuracy + 0.1, "\(start) \(random)")
    #expect(start[1].loss < start[0].loss)
    for (a, b) in zip(try losses(world, "fitted"), try losses(world, "two")) {
      #expect(abs(a.loss - b.loss) < 1e-3 * b.loss, "step \(a.step)")
    }
    let again = try Command.run(
      "eagle-train", ["run", "recipe.yaml", "--set", "output=fitted"] + fitted, in: world.path)
    #expect(again.status == 0 && again.errors.contains("resumed"), "\(again.errors)")
  }

  /// States that exist only during a micro-batch give the losses of stored ones.
  @Test("online capture gives the losses of a capture store") func onlineCaptureGivesTheLossesOfAStore() throws {
    let world = try TinyWorld()
    #expect(try run(world).status == 0)
    for format in ["bf16", "int8"] {
      let states = "capture.states=\(format)"
      let stored = try run(world, "--set", "output=stored-\(format)", "--set", states)
      let live = try run(world, "--set", "output=live-\(format)", "--set", states, "--set", "capture.mode=online")
      #expect(stored.status == 0 && live.status == 0, "\(stored.errors) \(live.errors)")
      #expect(!FileManager.default.fileExists(atPath: world("live-\(format)/capture")))
      let (expected, losses) = (try self.losses(world, "stored-\(format)"), try self.losses(world, "live-\(format)"))
      #expect(losses.count == expected.count && losses.count >= 10)
      // because: the teacher's log-sum-exp comes from other blocks of the vocabulary, in float32
      for (a, b) in zip(losses, expected) { #expect(abs(a.loss - b.loss) < 1e-5 * b.loss, "step \(a.step)") }
      let (mean, plain) = (mean(losses), mean(try self.losses(world)))
      // because: a random target's states are noise, and those of 8 bits are off by half a percent of their largest
      #expect(abs(mean - plain) < 0.03 * plain && (mean == plain) == (format == "bf16"))
    }
    let inspected = try Command.run("eagle-train", ["inspect", "stored-int8/capture"], in: world.path)
    #expect(inspected.status == 0 && inspected.output.contains("int8"), "\(inspected.output)")
    let none = try Command.run(
      "eagle-train", ["capture", "recipe.yaml", "--set", "capture.mode=online"], in: world.path)
    #expect(none.status == 1 && none.errors.contains("capture.mode"), "\(none.errors)")
  }

  /// The path of bf16 GEMMs, emulated if the processor has none: weights and activations are rounded once each.
  @Test("training in bf16 gives the losses of float32 within 1 %") func bfloat16LearnsAsFloat32Does() throws {
    let world = try TinyWorld()
    let plain = try run(world)
    let narrow = try Command.run(
      "eagle-train", ["run", "recipe.yaml", "--set", "output=narrow", "--set", "train.precision=bf16"],
      in: world.path, environment: ["EAGLE_EMULATE_BF16": "1"])
    try #require(plain.status == 0 && narrow.status == 0, "\(plain.errors) \(narrow.errors)")
    let (expected, losses) = (try losses(world), try losses(world, "narrow"))
    #expect(!losses.isEmpty && losses.count == expected.count)
    // because: bf16 operands have 8 bits, and sums over hundreds of tokens average their errors
    for (a, b) in zip(losses, expected) { #expect(abs(a.loss - b.loss) < 0.01 * b.loss, "step \(a.step)") }
    #expect(zip(losses, expected).contains { $0.loss != $1.loss }, "nothing was rounded")
  }

  /// SIGKILL in the middle of training, then the same command again: bit-equal weights.
  @Test("a killed run resumes to the same weights and losses") func aKilledRunGoesOnToTheSameWeights() throws {
    let world = try TinyWorld()
    let longer = ["--set", "train.epochs=30", "--set", "train.checkpoint_every=10", "--set", "evaluate.limit=1"]
    let whole = try Command.run("eagle-train", ["run", "recipe.yaml"] + longer, in: world.path)
    #expect(whole.status == 0, "\(whole.errors)")
    let arguments = ["run", "recipe.yaml", "--set", "output=cut"] + longer
    let killed = try Command.start("eagle-train", arguments, in: world.path)
    while try CheckpointFolder.names(in: world("cut")).count < 2 && killed.process.isRunning { usleep(2000) }
    kill(killed.process.processIdentifier, SIGKILL)
    _ = try killed.finish()
    let before = try #require(try CheckpointFolder.names(in: world("cut")).last)
    #expect(before != (try CheckpointFolder.names(in: world("out")).last), "the run ended before it was killed")
    let again = try Command.run("eagle-train", arguments, in: world.path)
    #expect(again.status == 0 && again.errors.contains("resumed from step-"), "\(again.errors)")
    #expect(try lastState(world, "cut") == lastState(world, "out"))
    #expect(try losses(world, "cut").map(\.loss) == losses(world).map(\.loss))
  }

  /// A run that starts from an exported head begins where the head's own run ended, up to bfloat16.
  @Test("fine-tuning an exported head starts at its held-out loss and lowers it")
  func anExportedHeadIsTrainedFurther() throws {
    let world = try TinyWorld()
    func heldOutLosses(_ output: String) throws -> [Double] {
      let records = try JSONSerialization.jsonObject(with: world.read("\(output)/evaluation.json")) as? [[String: Any]]
      return (records ?? []).compactMap { ($0["held_out"] as? [String: Any])?["loss"] as? Double }
    }
    #expect(try run(world, "--set", "train.epochs=1").status == 0)
    let tuned = try run(
      world, "--set", "train.epochs=1", "--set", "draft.init_from=out/export", "--set", "output=tuned")
    #expect(tuned.status == 0 && tuned.errors.contains("fine-tuning out/export"), "\(tuned.errors)")
    let (before, after) = (try heldOutLosses("out"), try heldOutLosses("tuned"))
    #expect(before.count == 2 && after.count == 2 && after[1] < after[0])
    // because: the head went through bfloat16, which has three digits
    #expect(abs(after[0] - before[1]) < 1e-2 * before[1])
  }

  /// The missing files of a finished run are created again, and no others.
  @Test("files that a finished run has lost are made again") func lostFilesComeBack() throws {
    let world = try TinyWorld(conversations: 20)
    #expect(try run(world, "--set", "train.epochs=1").status == 0)
    let (shard, head) = ("out/capture/shard-00000.h5", "out/export/model.safetensors")
    let weights = try world.read(head)
    try FileManager.default.removeItem(atPath: world(shard))
    try FileManager.default.removeItem(atPath: world("out/export"))
    let again = try run(world, "--set", "train.epochs=1")
    #expect(again.status == 0 && again.errors.contains("capturing what is missing"), "\(again.errors)")
    #expect(FileManager.default.fileExists(atPath: world(shard)))
    #expect(try world.read(head) == weights)
    let third = try run(world, "--set", "train.epochs=1")
    #expect(third.status == 0 && third.errors.contains("capture: up to date"), "\(third.errors)")
  }

  @Test("export --card says what the head is, what it was trained on and what was measured; pages of others stay")
  func cards() throws {
    let world = try TinyWorld()
    #expect(try run(world).status == 0)
    let step = try #require(try CheckpointFolder.names(in: world("out")).last)
    func export(_ more: String...) throws -> Outcome {
      try Command.run("eagle-train", ["export", "out/\(step)", "--output", "head"] + more, in: world.path)
    }
    #expect(try export("--card", "--license", "apache-2.0").status == 0)
    let page = String(decoding: try world.read("head/README.md"), as: UTF8.self)
    #expect(page.hasPrefix("---\nlicense: apache-2.0\ntags:\n- speculative-decoding\n- eagle3\n---\n"))
    let records = try JSONSerialization.jsonObject(with: world.read("out/evaluation.json")) as? [[String: Any]] ?? []
    let few = try #require((records.last?["benchmarks"] as? [String: [String: Any]])?["few"])
    let length = String(format: "%.2f", try #require(few["acc_length"] as? Double))
    #expect(page.contains("| few | \(length) [") && page.contains("- `data.jsonl`") && page.contains(" trained, "))
    #expect(page.contains("fingerprint of the target") && !page.contains(world.path))
    #expect(try export("--card", "--verifier", "org/tiny").status == 0)
    #expect(String(decoding: try world.read("head/README.md"), as: UTF8.self).contains("\nbase_model: org/tiny\n"))
    #expect(try export("--card").status == 0 && export().status == 0)
    // A generated page that a user has changed is not replaced.
    #expect(try export("--card").status == 0)
    try world.put("head/README.md", String(decoding: try world.read("head/README.md"), as: UTF8.self) + "more\n")
    #expect(try export().status == 1)
    try world.put("head/README.md", "mine\n")
    let refused = try export("--card")
    #expect(refused.status == 1 && refused.errors.contains("README.md"), "\(refused.errors)")
    #expect(try world.read("head/README.md") == Data("mine\n".utf8))
    let file = try Command.run(
      "eagle-train", ["export", "out/\(step)", "--output", "head.gguf", "--card"], in: world.path)
    #expect(file.status == 64 && file.errors.contains("--card"))
  }

  @Test("a head that no exported folder can hold is refused before anything is computed")
  func unexportableHead() throws {
    let world = try TinyWorld(conversations: 20)
    var config = try #require(
      try JSONSerialization.jsonObject(with: world.read("target/config.json")) as? [String: Any])
    for (key, value) in [
      "embedding_multiplier": 3.0, "attention_multiplier": 0.3, "residual_multiplier": 0.5, "logits_scaling": 2.0,
    ] {
      config[key] = value
    }
    config["model_type"] = "granite"
    try world.put("target/config.json", String(decoding: JSONSerialization.data(withJSONObject: config), as: UTF8.self))
    let outcome = try run(
      world, "--set", "draft={architecture: dspark, layers: 1, block_size: 3, markov_rank: 4, vocabulary_size: 64}",
      "--set", "capture.layers=[1, 4]")
    #expect(outcome.status == 1 && outcome.errors.contains("does not scale embeddings"), "\(outcome.errors)")
    #expect(outcome.errors.contains("draft.vocabulary_size: all"), "\(outcome.errors)")
    #expect(!FileManager.default.fileExists(atPath: world("out/prepared")))
  }

  @Test("a checkpoint exports the head of the run, and inspect shows its files")
  func checkpointsExportAndInspect() throws {
    let world = try TinyWorld(conversations: 20)
    #expect(try run(world, "--set", "train.epochs=1").status == 0)
    let name = try #require(try CheckpointFolder.names(in: world("out")).last)
    let export = try Command.run("eagle-train", ["export", "out/\(name)", "--output", "head"], in: world.path)
    #expect(export.status == 0, "\(export.errors)")
    #expect(try world.read("head/model.safetensors") == world.read("out/export/model.safetensors"))
    for (path, word) in [
      ("out/\(name)", "all checksums right"), ("out/capture", "capture store"), ("head", "fc.weight"),
      ("recipe.yaml", "\"ttt_length\""), ("target/model.safetensors", "model.embed_tokens.weight"),
      ("out/capture/shard-00000.h5", "capture shard"),
    ] {
      let shown = try Command.run("eagle-train", ["inspect", path], in: world.path)
      #expect(shown.status == 0 && shown.output.contains(word), "\(path): \(shown.output)\(shown.errors)")
    }
  }
}
