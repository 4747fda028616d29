import EagleCaptureStore
import EagleChat
import EagleCluster
import EagleCore
import EagleDraft
import EagleModels
import EagleRunFiles
import EagleStorage
import EagleTraining
import Foundation
import Testing

/// Runs with non-finite values, with stops, and with files of an earlier start.
@Suite struct TrainerEdgeTests {
  private let run: SmallRun

  init() throws { run = try SmallRun() }

  /// The messages of a run.
  private final class Lines: ProgressSink, @unchecked Sendable {
    private let lock = NSLock()
    private var lines: [String] = []
    var all: [String] { lock.withLock { lines } }
    func advance(_: String, done _: Int, total _: Int, unit _: String, note _: String) {}
    func finish(_: String, _: String) {}
    func say(_ line: String) { lock.withLock { lines.append(line) } }
  }

  private func poisoned(_ conversations: Set<Int>) throws -> CaptureStore {
    let folder = "\(run.path)/poisoned-\(conversations.sorted())"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    return try SmallRun.write(to: folder, run.target, poisoned: conversations)
  }

  @Test("no loss takes held-out non-finite values for good drafts", arguments: TrainingLoss.allCases)
  func heldOutWithoutNumbers(loss: TrainingLoss) throws {
    let trainer = try run.trainer("held-\(loss.rawValue)", store: try poisoned([22])) { $0.loss = loss }
    #expect(try #require(try trainer.heldOutMetrics()).leftOut == 1)
  }

  @Test("a held-out conversation with non-finite values is left out, counted and named", arguments: [1, 3])
  func heldOutWithoutNumbers(ranks: Int) throws {
    let (run, store) = (run, try poisoned([22]))
    let results = try LoopbackCommunicator.run(size: ranks) { cluster -> (ObjectiveMetrics, [String]) in
      let lines = Lines()
      let trainer = try run.trainer("held-\(ranks)", cluster: cluster, store: store, progress: lines)
      return (try #require(try trainer.heldOutMetrics()), lines.all)
    }
    for (metrics, lines) in results {
      #expect(metrics.loss.isFinite && metrics.loss > 0 && metrics.leftOut == 1)
      #expect(
        lines.contains { $0.contains("1 conversation with non-finite values") && $0.contains("conversation 22") })
      _ = try JSONEncoder().encode(metrics)
    }
    // The other conversations count as without it.
    let others = try #require(try run.trainer("held-others", heldOut: [21, 23]).heldOutMetrics())
    #expect(others.leftOut == 0)
    // because: ranks add sums in another order
    for (metrics, _) in results { #expect(abs(metrics.loss - others.loss) < 1e-6) }
    // Counts by conversation, the same for any number of ranks.
    let groups = try #require(others.groups)
    #expect(
      groups.count == 2 && results.allSatisfy { $0.0.groups?.hits == groups.hits && $0.0.groups?.rows == groups.rows })
    #expect(
      abs(groups.simulatedAcceptanceLength(of: [0, 1], steps: 3) - others.simulatedAcceptanceLength) < 1e-9)
  }

  @Test("held-out batches that an earlier start has finished are not computed again")
  func heldOutGoesOn() throws {
    let trainer = try run.trainer("journal") { $0.tokensPerBatch = 20 }
    let whole = try #require(try trainer.heldOutMetrics())
    let journal = EvaluationJournal(output: "\(run.path)/journal", key: "a")
    #expect(try trainer.heldOutMetrics(journal: journal) == whole)
    // A store with other states, so that only the journal can give the same values.
    let other = try run.trainer("journal", store: try poisoned([21, 22, 23])) { $0.tokensPerBatch = 20 }
    #expect(try other.heldOutMetrics(journal: journal) == whole)
    let otherKey = EvaluationJournal(output: "\(run.path)/journal", key: "b")
    // All three have non-finite values, so there is no result.
    #expect(try other.heldOutMetrics(journal: otherKey) == nil)
    // An incomplete line after a kill is ignored.
    let file = "\(run.path)/journal/evaluation.partial/held-out-a-0.jsonl"
    let text = try String(contentsOfFile: file, encoding: .utf8)
    try String(text.dropLast(10)).write(toFile: file, atomically: true, encoding: .utf8)
    #expect(try trainer.heldOutMetrics(journal: journal) == whole)
    journal.remove()
    let left = try FileManager.default.contentsOfDirectory(atPath: "\(run.path)/journal/evaluation.partial")
    #expect(left == ["held-out-b-0.jsonl"])
    journal.remove(others: true)
    #expect(!FileManager.default.fileExists(atPath: "\(run.path)/journal/evaluation.partial"))
  }

  @Test("a stop is heard behind one batch of the held-out conversations, on all ranks")
  func heldOutStops() throws {
    let run = run
    let left = try LoopbackCommunicator.run(size: 2) { cluster -> Int in
      let stop = StopRequest()
      let trainer = try run.trainer("held-stop", cluster: cluster, stop: stop) { $0.tokensPerBatch = 20 }
      if cluster.rank == 1 { stop.make("SIGTERM") }
      #expect(throws: StoppedRun.self) { try trainer.heldOutMetrics() }
      return cluster.rank
    }
    #expect(left == [0, 1])
  }

  @Test("in node mode a step that is left out names its conversation, wherever its states lie", arguments: [4, 17])
  func nodesNameTheConversation(bad: Int) throws {
    let (run, store) = (run, try poisoned([bad]))
    let output = "nodes-\(bad)"
    let weights = try LoopbackCommunicator.run(size: 2, ranksPerNode: 1) { cluster -> [Float] in
      let folder = "\(run.path)/\(output)-disk-\(cluster.rank)"
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      for name in ["manifest.json", CaptureManifest.shardName(cluster.rank)] {
        try FileManager.default.copyItem(atPath: "\(store.folder)/\(name)", toPath: "\(folder)/\(name)")
      }
      let own = try CaptureStore(folder: folder, lengths: store.lengths, presence: .partial)
      let trainer = try run.trainer(output, cluster: cluster, store: own, masksOf: store)
      for epoch in 0..<2 { try trainer.train(epoch: epoch) }
      return trainer.optimizer.weights.values
    }
    #expect(weights[0] == weights[1] && weights[0].allSatisfy(\.isFinite))
    let lines = try String(contentsOfFile: "\(run.path)/\(output)/metrics.jsonl", encoding: .utf8).split(
      separator: "\n")
    let skipped = lines.compactMap { try? JSONDecoder().decode(SkippedStep.self, from: Data($0.utf8)) }
    #expect(skipped.map(\.conversations) == [["conversation \(bad)"], ["conversation \(bad)"]])
  }

  @Test("a fitted start leaves conversations with non-finite values out and names them")
  func fittedWithoutNumbers() throws {
    var draft = DraftConfig()
    draft.vocabularySize = 40
    let random = DraftModel.random(
      shape: Eagle3Shape(of: run.target.shape, draft, captureLayers: [0, 1, 2]),
      vocabulary: .mostFrequent(counts: [Int](repeating: 1, count: 64), size: 40, always: []), seed: 2)
    var named: [Int] = []
    let fitted = try #require(
      try DraftModel.fitted(
        random, target: run.target, states: .store(try poisoned([4, 9])), conversations: Array(0..<21), seed: 0,
        cluster: SoloCommunicator()
      ) { named.append($0) })
    #expect(named.sorted() == [4, 9])
    #expect(fitted.parameters.allSatisfy { $0.variable.value.values.allSatisfy(\.isFinite) })
    let stop = StopRequest()
    stop.make("SIGTERM")
    #expect(throws: StoppedRun.self) {
      _ = try DraftModel.fitted(
        random, target: run.target, states: .store(run.store), conversations: Array(0..<21), seed: 0,
        cluster: SoloCommunicator(), stop: stop)
    }
  }

  @Test("a fitted start of two layers has the losses of one: the second layer passes states on")
  func fittedLayers() throws {
    func losses(layers: Int) throws -> [Double] {
      var draft = DraftConfig()
      (draft.vocabularySize, draft.layers) = (40, layers)
      let head = try #require(
        try DraftModel.fitted(
          DraftModel.random(
            shape: Eagle3Shape(of: run.target.shape, draft, captureLayers: [0, 1, 2]),
            vocabulary: .mostFrequent(counts: [Int](repeating: 1, count: 64), size: 40, always: []), seed: 2),
          target: run.target, states: .store(run.store), conversations: Array(0..<21), seed: 0,
          cluster: SoloCommunicator()))
      var settings = ObjectiveSettings()
      settings.precision = .fp32
      let objective = head.objective(
        tables: head.tables(of: run.target),
        teacher: Teacher(target: run.target, vocabulary: head.vocabulary, precision: .fp32), settings: settings)
      let conversations = try (0..<8).map { try run.store.read(conversation: $0) }
      let ones = [Double](repeating: 1, count: objective.positions)
      return objective.run(conversations, globalRows: ones, recording: false).map(\.loss)
    }
    for (one, two) in zip(try losses(layers: 1), try losses(layers: 2)) {
      // because: in two layers, the first one is computed for more rows, in blocks of other sizes
      #expect(one > 0 && abs(one - two) < 1e-5 * one)
    }
  }

  @Test("the start is a checkpoint: another start of the program finds its weights and feature sizes there")
  func theStartIsKept() throws {
    let first = try run.trainer("start") { $0.featureRates = .bySize }
    try first.begin()
    #expect(try CheckpointFolder.names(in: "\(run.path)/start") == ["step-00000000"])
    // The feature sizes cannot be computed again, because the states of this store are not finite.
    let second = try run.trainer("start", store: try poisoned(Set(0..<24))) { $0.featureRates = .bySize }
    #expect(try second.resume())
    #expect(second.step == 0 && second.optimizer.weights.values == first.optimizer.weights.values)
    let whole = try run.trainer("start-whole") { $0.featureRates = .bySize }
    try whole.train(epoch: 0)
    let third = try run.trainer("start") { $0.featureRates = .bySize }
    #expect(try third.resume())
    try third.train(epoch: 0)
    #expect(third.optimizer.weights.values == whole.optimizer.weights.values)
  }

  @Test("checkpoints come by minutes where steps are long")
  func checkpointsByTime() throws {
    let trainer = try run.trainer("minutes") {
      ($0.checkpointEvery, $0.checkpointMinutes, $0.keepCheckpoints) = (1000, 1e-9, 100)
    }
    try trainer.train(epoch: 0)
    let steps = trainer.plan.epochs[0].count
    #expect(try CheckpointFolder.names(in: "\(run.path)/minutes") == (1...steps).map(CheckpointFolder.name(step:)))
    let rare = try run.trainer("rare") { ($0.checkpointEvery, $0.keepCheckpoints) = (1000, 100) }
    try rare.train(epoch: 0)
    #expect(try CheckpointFolder.names(in: "\(run.path)/rare") == [CheckpointFolder.name(step: steps)])
  }

  @Test("the advice after too many skipped steps works: the run goes on without the conversations, and says so")
  func leavingOutGoesOn() throws {
    let store = try poisoned([4])
    func trainer(_ leftOut: Set<Int> = [], rate: Double = 5e-3) throws -> TrainingRun {
      try run.trainer("advice", store: store, leftOut: leftOut) {
        ($0.maxSkippedSteps, $0.checkpointEvery, $0.learningRate) = (0, 1, rate)
      }
    }
    let first = try trainer()
    let error = #expect(throws: LocatedError.self) { try first.train(epoch: 0) }
    #expect(error?.advice?.contains(#"set train.leave_out to ["conversation 4"]"#) == true, "\(error as Any)")
    let bad = try #require(first.plan.epochs[0].firstIndex { $0.contains(4) })
    // The newest checkpoint is from before the step, although checkpoints are written at each step.
    let second = try trainer([4])
    try second.resume()
    #expect(second.step == bad)
    for epoch in 0..<2 { try second.train(epoch: epoch) }
    let lines = try run.metrics("advice")
    #expect(lines.map(\.step) == Array(1...second.plan.lastStep(ofEpoch: 1)))
    // Another rate is accepted too, and recorded with the step from which it applies.
    let third = try trainer([4], rate: 1e-3)
    try third.resume()
    try third.train(epoch: 2)
    let text = try String(contentsOfFile: "\(run.path)/advice/changes.jsonl", encoding: .utf8)
    let changes = try text.split(separator: "\n").map { try JSONDecoder().decode(RunChange.self, from: Data($0.utf8)) }
    #expect(changes.map(\.key) == ["train.learning_rate"] && changes[0].step == second.step)
    #expect(changes[0].from == "0.005" && changes[0].to == "0.001")
  }

  @Test("a batch whose conversations are all left out changes nothing")
  func emptyBatches() throws {
    let trainer = try run.trainer("empty", leftOut: Set(0..<21))
    let before = trainer.optimizer.weights.values
    try trainer.train(epoch: 0)
    #expect(trainer.optimizer.weights.values == before && trainer.step == trainer.plan.epochs[0].count)
  }

  @Test("steps that are left out do not count in AdamW's bias correction")
  func skippedStepsDoNotCount() throws {
    // With one conversation per batch, the first steps are skipped, and then one updates the weights.
    let first = try run.trainer("plain") { $0.tokensPerBatch = 1 }
    let order = first.plan.epochs[0].map { $0[0] }
    let store = try poisoned(Set(order[0..<3]))
    let skipping = try run.trainer("skipping", store: store) { ($0.tokensPerBatch, $0.warmupRatio) = (1, 0) }
    let before = skipping.optimizer.weights.values
    for index in 0..<4 { _ = try skipping.engine.step(first.plan.epochs[0][index], next: nil) }
    #expect(skipping.step == 4 && skipping.engine.updates == 1)
    let steps = zip(skipping.optimizer.weights.values, before).map { abs($0 - $1) }
    // AdamW's first step is the learning rate for nearly every weight.
    let rate = Float(5e-3)
    #expect(steps.filter { $0 > 0 }.sorted()[steps.filter { $0 > 0 }.count / 2] > 0.95 * rate)
  }

  @Test("feature sizes and a fitted start are the same wherever the states lie")
  func samplesOfAllNodes() throws {
    let run = run
    @Sendable func start(_ cluster: any Communicator, _ store: CaptureStore, _ output: String) throws -> [[Float]] {
      let trainer = try run.trainer(output, cluster: cluster, store: store, masksOf: run.store) {
        $0.featureRates = .bySize
      }
      try trainer.begin()
      let fitted = try DraftModel.fitted(
        cluster.isRoot ? trainer.optimizer.draft : nil, target: run.target, states: .store(store),
        conversations: Array(0..<21), seed: 0, cluster: cluster)
      let shared = try DraftModel.shared(fitted, target: run.target.shape, cluster: cluster)
      return shared.parameters.map(\.variable.value.values) + [try #require(trainer.optimizer.featureRates).values]
    }
    let alone = try start(SoloCommunicator(), run.store, "sample-alone")
    // Rank 0's node has only the second shard.
    let nodes = try LoopbackCommunicator.run(size: 2, ranksPerNode: 1) { cluster -> [[Float]] in
      let folder = "\(run.path)/sample-disk-\(cluster.rank)"
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      for name in ["manifest.json", CaptureManifest.shardName(1 - cluster.rank)] {
        try FileManager.default.copyItem(atPath: "\(run.store.folder)/\(name)", toPath: "\(folder)/\(name)")
      }
      return try start(
        cluster, try CaptureStore(folder: folder, lengths: run.store.lengths, presence: .partial), "sample-nodes")
    }
    #expect(nodes[0] == alone && nodes[1] == alone)
  }

  @Test("a stop that one rank hears ends the look at the states on all ranks")
  func aStopEndsTheSample() throws {
    let run = run
    let ended = try LoopbackCommunicator.run(size: 2) { cluster -> Bool in
      let stop = StopRequest()
      let trainer = try run.trainer("sample-stop", cluster: cluster, stop: stop) { $0.featureRates = .bySize }
      if cluster.rank == 1 { stop.make("SIGTERM") }
      #expect(throws: StoppedRun.self) { try trainer.begin() }
      return true
    }
    #expect(ended == [true, true])
  }

  @Test("conversations that are left out of training still count among the held-out ones")
  func heldOutStaysWhole() throws {
    let whole = try run.trainer("left-whole").heldOutMetrics()
    #expect(try run.trainer("left-22", leftOut: [22]).heldOutMetrics() == whole)
  }
}
