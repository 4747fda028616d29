import EagleChat
import EagleCluster
import EagleCore
import EagleDraft
import EagleModels
import EagleRunFiles
import EagleStorage
import Foundation
import Testing

/// Runs that were stopped, or resume with another recipe.
@Suite(.serialized) struct GoingOnTests {
  private func run(_ world: TinyWorld, _ settings: String...) throws -> Outcome {
    try Command.run("eagle-train", ["run", "recipe.yaml"] + settings.flatMap { ["--set", $0] }, in: world.path)
  }

  private func records(_ world: TinyWorld) throws -> [EvaluationRecord] {
    try EvaluationFile.read(world("out/evaluation.json"))
  }

  private func best(_ world: TinyWorld) throws -> String {
    String(decoding: try world.read("out/best"), as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
  }

  @Test("a run that takes the place of another has evaluations of its own heads alone")
  func evaluationsOfAnEarlierRun() throws {
    let world = try TinyWorld(conversations: 20, endless: true)
    #expect(try run(world, "train.epochs=1").status == 0)
    for name in try CheckpointFolder.names(in: world("out")) {
      try FileManager.default.removeItem(atPath: world("out/\(name)"))
    }
    // Endless answers leave time to stop the first evaluation.
    let settings = ["train.epochs=1", "train.seed=7"]
    let arguments = ["run", "recipe.yaml"] + settings.flatMap { ["--set", $0] }
    let long = arguments + ["--set", "evaluate.max_new_tokens=100000"]
    let first = try Command.start("eagle-train", long, in: world.path)
    while !FileManager.default.fileExists(atPath: world("out/step-00000000")), first.process.isRunning { usleep(1000) }
    kill(first.process.processIdentifier, SIGKILL)
    _ = try first.finish()
    #expect(try Command.run("eagle-train", arguments, in: world.path).status == 0)
    #expect(try Command.run("eagle-train", arguments + ["--set", "output=other"], in: world.path).status == 0)
    let expected = try EvaluationFile.read(world("other/evaluation.json"))
    #expect(try records(world).map(\.heldOut?.loss) == expected.map(\.heldOut?.loss))
  }

  /// Endless answers make the evaluation before the first epoch long.
  @Test("a stop in an evaluation is heard at once, and what is done of it is not done again", arguments: [1, 2])
  func stoppedEvaluation(ranks: Int) throws {
    let world = try TinyWorld(endless: true)
    let prompts = (0..<6).map { #"{"id": "p\#($0)", "prompt": "one two \#($0)"}"# }.joined(separator: "\n")
    try world.put("prompts.jsonl", prompts + "\n")
    let arguments = [
      "run", "recipe.yaml", "--set", "evaluate.limit=6", "--set", "train.epochs=1", "--set", "draft.start=fitted",
    ]
    func start(tokens: Int) throws -> Running {
      let all = arguments + ["--set", "evaluate.max_new_tokens=\(tokens)"]
      return ranks == 1
        ? try Command.start("eagle-train", all, in: world.path) : try Command.startRanks(ranks, all, in: world.path)
    }
    let first = try start(tokens: 2500)
    func finished() -> Int {
      let folder = world("out/evaluation.partial")
      let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
      return names.filter { $0.hasPrefix("prompts-") }.reduce(0) { sum, name in
        sum
          + (FileManager.default.contents(atPath: "\(folder)/\(name)")?.split(separator: UInt8(ascii: "\n")).count ?? 0)
      }
    }
    while finished() == 0, first.process.isRunning { usleep(1000) }
    for process in ranks == 1 ? [first.process.processIdentifier] : first.ranks { kill(process, SIGUSR1) }
    let outcome = try first.finish()
    #expect(outcome.status == 130 && outcome.errors.contains("stopped during evaluate"), "\(outcome.errors)")
    let done = finished()
    #expect(done > 0 && done < 6)
    let second = try start(tokens: 2500).finish()
    #expect(second.status == 0, "\(second.errors)")
    #expect(
      second.errors.contains("evaluate: resuming after \(Format.count(done, "finished prompt"))"), "\(second.errors)")
    #expect(second.errors.contains("resumed from step-00000000"), "\(second.errors)")
    let before = try #require(try records(world).first)
    #expect(before.epoch == 0 && before.benchmarks["few"]?.prompts == 6 && before.benchmarks["few"]?.differing == 0)
    #expect(!FileManager.default.fileExists(atPath: world("out/evaluation.partial")))
  }

  @Test("a stopped evaluate command keeps its finished prompts, and leaves those of others alone")
  func stoppedCommand() throws {
    let world = try TinyWorld(endless: true)
    #expect(try run(world, "train.epochs=1", "evaluate.benchmarks={}").status == 0)
    let prompts = (0..<6).map { #"{"id": "p\#($0)", "prompt": "one two \#($0)"}"# }.joined(separator: "\n")
    try world.put("prompts.jsonl", prompts + "\n")
    let folder = world("out/evaluation.partial")
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    try world.put("out/evaluation.partial/prompts-00000000-0.jsonl", "of another evaluation")
    let arguments = ["evaluate", "recipe.yaml", "--set", "evaluate.limit=6", "--set", "evaluate.max_new_tokens=2500"]
    func own() -> [String] {
      ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).filter { !$0.contains("-00000000-") }
    }
    let running = try Command.start("eagle-train", arguments, in: world.path)
    while own().isEmpty, running.process.isRunning { usleep(1000) }
    kill(running.process.processIdentifier, SIGTERM)
    #expect(try running.finish().status == 130 && own().count == 1)
    let second = try Command.run("eagle-train", arguments, in: world.path)
    #expect(second.status == 0 && second.errors.contains("evaluate: resuming after"), "\(second.errors)")
    #expect(own().isEmpty && FileManager.default.fileExists(atPath: "\(folder)/prompts-00000000-0.jsonl"))
  }

  @Test("a run that was killed while it pointed at its last checkpoint is mended, though nothing is left to train")
  func killedWhilePointing() throws {
    let world = try TinyWorld()
    #expect(try run(world).status == 0)
    let newest = try #require(try CheckpointFolder.names(in: world("out")).last)
    // The files after a kill: another process's temporary file, and the earlier pointer.
    try world.put("out/.latest.tmp-999999999", newest)
    try world.put("out/latest", "step-00000008\n")
    #expect(try run(world).status == 0)
    #expect(try CheckpointFolder.target(of: "latest", in: world("out")) == newest)
    let left = try FileManager.default.contentsOfDirectory(atPath: world("out")).filter { $0.contains(".tmp-") }
    #expect(left.isEmpty)
  }

  @Test("other settings before the first step begin the run anew")
  func changedBeforeTheFirstStep() throws {
    let world = try TinyWorld()
    #expect(try run(world, "train.epochs=1").status == 0)
    for name in try CheckpointFolder.names(in: world("out")) where name != "step-00000000" {
      try FileManager.default.removeItem(atPath: world("out/\(name)"))
    }
    try #require(try CheckpointFolder.names(in: world("out")) == ["step-00000000"])
    let other = try run(world, "train.epochs=1", "train.beta1=0.5")
    #expect(other.status == 0 && other.errors.contains("the run begins anew"), "\(other.errors)")
  }

  @Test("SIGTERM in the held-out part of an evaluation ends the run with status 130, and batches that are done stay")
  func stoppedHeldOut() throws {
    let world = try TinyWorld(conversations: 3000)
    let settings = ["--set", "data.held_out=0.9", "--set", "train.tokens_per_batch=200"]
    let running = try Command.start("eagle-train", ["run", "recipe.yaml"] + settings, in: world.path)
    let folder = world("out/evaluation.partial")
    func journal() -> String? {
      let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
      return names.first { $0.hasPrefix("held-out-") }.map { "\(folder)/\($0)" }
    }
    while journal() == nil, running.process.isRunning { usleep(500) }
    kill(running.process.processIdentifier, SIGTERM)
    let outcome = try running.finish()
    #expect(outcome.status == 130 && outcome.errors.contains("stopped during evaluate"), "\(outcome.errors)")
    let lines = try Data(contentsOf: URL(fileURLWithPath: try #require(journal()))).split(separator: UInt8(ascii: "\n"))
      .count
    #expect(lines > 0 && lines < 800)
  }

  @Test("scores are compared only where they were measured alike; the best head is measured again after a change")
  func changedEvaluation() throws {
    let world = try TinyWorld()
    let held = "data.held_out=0.2"
    #expect(try run(world, held, "train.epochs=1", "evaluate.benchmarks={}").status == 0)
    let changed = try run(world, held, "train.epochs=3", "evaluate.benchmarks={few: prompts.jsonl}")
    #expect(changed.status == 0, "\(changed.errors)")
    #expect(changed.errors.contains("evaluate.* has changed since epoch 1"), "\(changed.errors)")
    #expect(!changed.errors.contains("0.00 ->"), "\(changed.errors)")
    let all = try records(world)
    #expect(all.map(\.epoch) == [0, 1, 2, 3])
    #expect(all[1].benchmarks.count == 1 && all[1].earlier?.map(\.benchmarks.count) == [0])
    #expect(all[1].conditions == all[3].conditions && all[0].conditions != all[1].conditions)
    let alike = all.filter { $0.epoch > 0 }
    let top = try #require(alike.map(\.score).max())
    #expect(try best(world) == CheckpointFolder.name(step: try #require(alike.first { $0.score == top }).step))
    // The first settings again, and other prompts: each time the best head is measured again, and no record is lost.
    let back = try run(world, held, "train.epochs=3", "evaluate.benchmarks={}")
    #expect(back.status == 0 && back.errors.contains("evaluate.* has changed"), "\(back.errors)")
    let same = try run(world, held, "train.epochs=3", "evaluate.benchmarks={}")
    #expect(same.status == 0 && !same.errors.contains("evaluate.* has changed"), "\(same.errors)")
  }

  @Test("the head to start from is rank 0's, whatever lies at its path on other ranks")
  func oneStartForAll() throws {
    let world = try TinyWorld()
    let model = try ChatModel(folder: world("target"), precision: .fp32)
    let shape = Eagle3Shape(of: model.target.shape, DraftConfig(), captureLayers: [1, 3, 4])
    let vocabularies = [64, 64].enumerated().map { index, size in
      DraftVocabulary.mostFrequent(counts: (0..<259).map { ($0 + 7 * index) % 50 }, size: size, always: [])
    }
    let (path, target) = (world.path, model.target)
    var sizes = shape
    sizes.draftVocabularySize = 64
    let heads = vocabularies.enumerated().map {
      DraftModel.random(shape: sizes, vocabulary: $1, seed: UInt64($0))
    }
    for (rank, head) in heads.enumerated() {
      try DraftFolder.write(head.rounded(), target: target.shape, to: "\(path)/head-\(rank)")
    }
    let results = try LoopbackCommunicator.run(size: 2) { cluster -> ([Int32], [[Float]]) in
      let own = try DraftFolder.read("\(path)/head-\(cluster.rank)", target: target, trainable: true)
      let shared = try DraftModel.shared(cluster.isRoot ? own : nil, target: target.shape, cluster: cluster)
      return (shared.vocabulary.targetIDs, shared.parameters.map { $0.variable.value.values })
    }
    #expect(results[0].0 == vocabularies[0].targetIDs && results[1].0 == results[0].0)
    #expect(results[0].1 == results[1].1)
  }

  @Test("ranks that read different prompts are told which file, before anything is decoded")
  func otherPrompts() throws {
    let world = try TinyWorld()
    try world.put("others.jsonl", #"{"id": "a", "prompt": "another"}"# + "\n")
    let path = world.path
    let error = #expect(throws: ClusterError.self) {
      _ = try LoopbackCommunicator.run(size: 2) { cluster in
        let model = try ChatModel(folder: "\(path)/target", precision: .fp32)
        var config = EvaluateConfig()
        config.benchmarks = ["few": cluster.isRoot ? "\(path)/prompts.jsonl" : "\(path)/others.jsonl"]
        config.maxNewTokens = 8
        return try Evaluator(model: model, config: config, cluster: cluster).examples.count
      }
    }
    // Each rank names the file that it has read itself.
    let isNamed = ["prompts.jsonl", "others.jsonl"].contains {
      error?.description.contains("the prompts of \(path)/\($0)") == true
    }
    #expect(isNamed, "\(error as Any)")
  }
}
