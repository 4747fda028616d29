import EagleChat
import EagleCluster
import EagleCore
import EagleData
import EaglePlan
import Foundation
import Testing

@Suite struct PlanCommandTests {
  private func plan(_ world: TinyWorld, _ arguments: [String] = [], ranks: Int = 1) throws -> RunPlan {
    let all = ["plan", "recipe.yaml", "--json"] + arguments
    let outcome =
      try ranks == 1
      ? Command.run("eagle-train", all, in: world.path) : Command.runRanks(ranks, all, in: world.path)
    try #require(outcome.status == 0, "\(outcome.errors)")
    return try JSONDecoder().decode(RunPlan.self, from: Data(outcome.output.utf8))
  }

  @Test("plan counts small files exactly and writes nothing") func smallFilesAreCountedAndNothingIsWritten() throws {
    // Enough conversations that HDF5's own tables in a shard are small.
    let (world, oneShard) = (try TinyWorld(conversations: 1000), ["--set", "capture.shard_tokens=1000000"])
    let plan = try plan(world, oneShard)
    #expect(!FileManager.default.fileExists(atPath: world("out")))
    let prepared = try Command.run("eagle-train", ["capture", "recipe.yaml"] + oneShard, in: world.path)
    try #require(prepared.status == 0, "\(prepared.errors)")
    let statistics = try PreparedData(folder: world("out/prepared")).statistics
    #expect(plan.corpus.conversations == Double(statistics.conversations))
    #expect(plan.corpus.tokens == Double(statistics.tokens))
    #expect(plan.corpus.trainedShare == Double(statistics.assistantTokens) / Double(statistics.tokens))
    #expect(plan.corpus.readShare == 1)
    #expect(plan.stages.map(\.name) == ["prepare", "capture", "training", "evaluation"])
    #expect(plan.stages.allSatisfy { $0.seconds.count == 1 && $0.seconds[0] > 0 && $0.seconds[0].isFinite })
    #expect(plan.problems.isEmpty && plan.nodes.count == 1)
    let gain = try #require(plan.gain)
    let formats = ["stored", "q8_0", "q4_0"]
    #expect(gain.rows.map(\.weights) == formats + formats && gain.rows.allSatisfy { $0.context == 256 })
    #expect(gain.rows.map(\.architecture) == ["eagle3", "eagle3", "eagle3", "dspark", "dspark", "dspark"])
    for row in gain.rows {
      // A round takes a target pass over its tokens, and a draft pass for each draft or for the block.
      let passes = row.architecture == "eagle3" ? Double(row.draftLength) : 1
      let round = row.pass + passes * row.draftPass
      #expect(
        zip(GainForecast.acceptanceLengths, row.gains).allSatisfy { abs($0 / round - $1) < 1e-9 && row.pass >= 1 })
    }
    let stored = try #require(plan.disk.first { $0.name == "capture store" }?.bytes)
    let files = try FileManager.default.subpathsOfDirectory(atPath: world("out/capture")).filter { $0.hasSuffix(".h5") }
    let real = try files.reduce(0) {
      try $0 + (FileManager.default.attributesOfItem(atPath: world("out/capture/\($1)"))[.size] as? Int ?? 0)
    }
    #expect(stored < Double(real) && Double(real) < 1.5 * stored, "\(stored) of \(real)")
  }

  @Test("answers of a server take no time of this machine")
  func servedAnswers() throws {
    let world = try TinyWorld()
    try world.put("questions.jsonl", #"{"id": "a", "prompt": "one"}"#)
    let settings = [
      "regenerate.input=[questions.jsonl]", "regenerate.output=own.jsonl", "data.train=[own.jsonl, data.jsonl]",
    ]
    func stage(_ more: String...) throws -> RunPlan.Stage? {
      try plan(world, (settings + more).flatMap { ["--set", $0] }).stages.first { $0.name == "regenerate" }
    }
    let (local, served) = (try stage(), try stage("regenerate.server=http://127.0.0.1:9"))
    #expect(local?.seconds.allSatisfy { $0 > 0 } == true && served?.seconds.allSatisfy { $0 == 0 } == true)
    #expect(served?.work == "1 answers of 256 tokens at most, by a server, whose time is left out")
  }

  @Test("plan gives the same counts for a compressed file") func compressedFilesSayTheSame() throws {
    let world = try TinyWorld()
    let plain = try plan(world)
    _ = try Command.run("/usr/bin/env", ["gzip", "data.jsonl"], in: world.path)
    let packed = try plan(world, ["--set", "data.train=[data.jsonl.gz]"])
    #expect(packed.corpus.tokens == plain.corpus.tokens && packed.corpus.readShare == 1)
    #expect(packed.corpus.stepsPerEpoch == plain.corpus.stepsPerEpoch)
  }

  /// A part of a file represents the rest of it, both for compressed and for plain files.
  @Test("a sample of a large file estimates its size within 5 %", arguments: [false, true])
  func largeFilesAreEstimated(isCompressed: Bool) throws {
    let world = try TinyWorld(conversations: 3000)
    var data = DataConfig()
    data.train = [DataFile(path: world("data.jsonl"))]
    data.duplicates = .keep
    let model = try ChatModel(folder: world("target"), precision: .fp32)
    let whole = try DataSample(data: data, model: model)
    if isCompressed {
      _ = try Command.run("/usr/bin/env", ["gzip", "data.jsonl"], in: world.path)
      data.train = [DataFile(path: world("data.jsonl.gz"))]
    }
    let share = try DataSample(data: data, model: model, bytesOfFile: 60_000)
    #expect(whole.isWhole && whole.conversationCount == 3000)
    #expect(!share.isWhole && share.conversations.count < 1000)
    #expect(abs(share.tokens / whole.tokens - 1) < 0.05, "\(share.tokens) for \(whole.tokens)")
    #expect(abs(share.conversationCount / 3000 - 1) < 0.05)
  }

  @Test("plan forecasts time, memory and efficiency for other numbers of nodes and ranks")
  func ranksAndNodesAreForecast() throws {
    let world = try TinyWorld()
    let plan = try plan(world, ["--nodes", "1,8", "--ranks", "4", "--link", "1Gbit"], ranks: 2)
    #expect(plan.measured.hasPrefix("2 ranks x 1 thread, "))
    #expect(plan.nodes.map(\.nodes) == [1, 1, 8] && plan.nodes.map(\.ranksPerNode) == [2, 4, 4])
    #expect(plan.stages.allSatisfy { $0.seconds.count == 3 })
    let (exposed, efficiency) = (try #require(plan.nodes[2].exposed), try #require(plan.nodes[2].efficiency))
    #expect(exposed > 0 && efficiency < 1)
    var onNodes = plan
    (onNodes.nodes[0].exposed, onNodes.nodes[0].efficiency) = (nil, nil)
    #expect(onNodes.lines().filter { $0.contains("unknown") }.count == 2)
    #expect(!plan.lines().contains { $0.contains("unknown") })
    #expect(plan.nodes[1].memory > plan.nodes[0].memory)
  }

  @Test("plan predicts the regenerate stage and its conversations") func generatedDataAreForeseen() throws {
    let world = try TinyWorld()
    let plan = try plan(
      world,
      [
        "--set", "regenerate.input=[prompts.jsonl]", "--set", "regenerate.output=made.jsonl", "--set",
        "regenerate.max_new_tokens=20", "--set", "regenerate.batch=2", "--set", "data.train=[made.jsonl]",
      ])
    #expect(plan.stages.first?.name == "regenerate" && plan.stages[0].seconds[0] > 0)
    #expect(plan.corpus.conversations == 3)  // turns of two prompts
  }

  @Test("a plan with online capture has no capture store and no capture stage") func onlineRunsNeedNoStore() throws {
    let plan = try plan(try TinyWorld(), ["--set", "capture.mode=online"])
    #expect(!plan.disk.contains { $0.name == "capture store" } && !plan.stages.contains { $0.name == "capture" })
  }

  @Test("plan says that a run will not fit, and which settings to change") func whatWillNotFitIsSaid() throws {
    let world = try TinyWorld()
    let outcome = try Command.run(
      "eagle-train", ["plan", "recipe.yaml", "--data-tokens", "1000000000000000"], in: world.path)
    #expect(outcome.status == 0 && outcome.output.contains("this will not fit: "))
    #expect(outcome.output.contains("set capture.states to int8, or set capture.mode to online"))
  }

  @Test(
    "plan names a wrong flag, file or setting, and prints no forecast",
    arguments: [
      (["--link", "fast"], 64, "--link is a rate"), (["--nodes", "1,x"], 64, "--nodes is a list"),
      (["--nodes", "0"], 64, "--nodes is a list"), (["--nodes", "8,"], 64, "--nodes is a list"),
      (["--ranks", "0"], 64, "--ranks must be"), (["--imbalance", "-1"], 64, "--imbalance"),
      (["--set", "data.train=[nowhere.jsonl]"], 1, "nowhere.jsonl: cannot be opened"),
      (["--set", "target.path=nowhere"], 1, "nowhere"),
      (["--link-file", "prompts.jsonl"], 1, "is not what `bench ranks`"),
      (["--link-file", "nowhere.json"], 1, "nowhere.json: cannot be read"),
      (["--set", "evaluate.benchmarks={few: nowhere.jsonl}"], 1, "nowhere.jsonl"),
      (["--set", "draft.vocabulary_size=100000"], 1, "draft.vocabulary_size"),
    ])
  func errorsSayWhatToDo(arguments: [String], status: Int, message: String) throws {
    let world = try TinyWorld()
    let outcome = try Command.run("eagle-train", ["plan", "recipe.yaml"] + arguments, in: world.path)
    #expect(outcome.status == Int32(status) && outcome.errors.contains(message), "\(outcome.errors)")
    #expect(outcome.output.isEmpty)
  }

  /// Ranks in two groups average with both algorithms, and each collective call is correct with both.
  @Test("two-level averaging over two nodes sends a third of the bytes") func twoLevelsAreMeasured() throws {
    let world = try TinyWorld()
    let ranks = try Command.runRanks(
      4, ["bench", "ranks", "--megabytes", "1", "--repeat", "1", "--json"], in: world.path,
      environment: ["EAGLE_RANKS_PER_NODE": "2"])
    #expect(ranks.status == 0, "\(ranks.errors)")
    let report = try JSONDecoder().decode(RanksBenchmark.Report.self, from: Data(ranks.output.utf8))
    #expect(report.nodes == 2)
    func sent(_ levels: AveragingLevels) -> [Int] { report.sums.filter { $0.levels == levels }.map(\.bytesSent) }
    #expect(sent(.flat).count == 6 && sent(.twoLevel).count == 6)
    // Of P elements each of four ranks sends 2 · 3/4, in two levels half of a node's P once to the other node.
    for (flat, two) in zip(sent(.flat), sent(.twoLevel)) { #expect(flat == 3 * two) }
  }

  /// A measured link replaces a named one.
  @Test("plan takes the latency between nodes from a bench ranks report") func measuredLinksAreUsed() throws {
    let world = try TinyWorld()
    let ranks = try Command.runRanks(
      2, ["bench", "ranks", "--megabytes", "1", "--repeat", "1", "--json"], in: world.path)
    try world.put("ranks.json", ranks.output)
    let plan = try plan(world, ["--nodes", "2", "--link-file", "ranks.json"])
    let report = try #require(try JSONSerialization.jsonObject(with: Data(ranks.output.utf8)) as? [String: Any])
    let latency = try #require(report["latency"] as? Double)
    #expect(plan.suppositions.contains { $0.contains(String(format: "and %.0f µs between nodes", latency * 1e6)) })
  }
}
