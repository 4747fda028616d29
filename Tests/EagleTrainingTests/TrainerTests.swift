import EagleCaptureStore
import EagleCluster
import EagleCore
import EagleDraft
import EagleRunFiles
import EagleStorage
import EagleText
import EagleTraining
import Foundation
import Testing

@Suite struct TrainerTests {
  private let run: SmallRun

  init() throws { run = try SmallRun() }

  @Test("training lowers the loss and the held-out loss") func lossFallsAndHeldOutIsMeasured() throws {
    let trainer = try run.trainer("a")
    let before = try #require(try trainer.heldOutMetrics())
    for epoch in 0..<4 { try trainer.train(epoch: epoch) }
    let lines = try run.metrics("a")
    #expect(lines.count == trainer.plan.totalSteps && lines.last!.step == lines.count)
    #expect(lines.last!.loss < lines.first!.loss)
    let after = try #require(try trainer.heldOutMetrics())
    #expect(before.loss > after.loss && after.loss > 0 && after.accuracy.count == 3)
  }

  @Test("several ranks give the losses of one rank", arguments: [2, 3])
  func ranksGiveTheLossesOfOneRank(ranks: Int) throws {
    let alone = try run.trainer("alone")
    for epoch in 0..<4 { try alone.train(epoch: epoch) }
    let run = run
    _ = try LoopbackCommunicator.run(size: ranks) { cluster in
      let trainer = try run.trainer("ranks-\(ranks)", cluster: cluster)
      for epoch in 0..<4 { try trainer.train(epoch: epoch) }
      return trainer.step
    }
    let (one, many) = (try run.metrics("alone"), try run.metrics("ranks-\(ranks)"))
    #expect(one.count == many.count && one.count >= 20)
    for (a, b) in zip(one.prefix(20), many) {
      #expect(abs(a.loss - b.loss) < 1e-5, "step \(a.step)")
      #expect(a.accuracy == b.accuracy && a.lr == b.lr && a.tokens == b.tokens)
    }
  }

  @Test("a state that is too large to copy is written with the same bytes")
  func aStateThatIsTooLargeToCopyIsWrittenAsItIs() throws {
    let trainer = try run.trainer("whole")
    try trainer.train(epoch: 0)
    let optimizer = trainer.optimizer
    let newest = try #require(try CheckpointFolder.newestValid(in: "\(run.path)/whole") { _ in })
    let info = try JSONDecoder().decode(TrainingCheckpoint.Info.self, from: newest.info)
    let files = try [0, Int.max].map { limit in
      let state = TrainingCheckpoint.State(optimizer, limit: limit)
      #expect(state.isCopy == (limit > 0))
      let parent = "\(run.path)/limit-\(limit)"
      try TrainingCheckpoint.write(state, info, parent: parent)
      return try Data(contentsOf: URL(fileURLWithPath: "\(parent)/\(newest.name)/state.safetensors"))
    }
    let isEqual = files[0] == files[1]
    #expect(isEqual && files[0].count > 12 * optimizer.weights.count)
  }

  /// AdamW's first step is the learning rate for every weight; for features it is divided by their size.
  @Test("by-size feature rates divide the steps of fc by the feature sizes")
  func largeFeaturesTakeSmallerSteps() throws {
    let (equal, bySize) = (
      try run.firstStep("equal") { $0.featureRates = .equal },
      try run.firstStep("by-size") { $0.featureRates = .bySize }
    )
    let rows = try (0..<21).flatMap { index in
      let conversation = try run.store.read(conversation: index)
      return TrainedRows(mask: conversation.lossMask, depths: 1).rows(depth: 0).map { row in
        conversation.auxHidden.float32().slice(row..<row + 1).values
      }
    }
    let sizes = rows[0].indices.map { j in (rows.reduce(0) { $0 + $1[j] * $1[j] } / Float(rows.count)).squareRoot() }
    for (name, steps) in equal {
      for (i, step) in steps.enumerated() {
        let expected = name == "fc.weight" ? step / sizes[i % sizes.count] : step
        // because: differences of weights near 0.02 in float32
        #expect(abs(bySize[name]![i] - expected) <= 2e-3 * abs(expected) + 1e-8, "\(name) \(i)")
      }
    }
  }

  /// One trainer runs the first epoch, and another one reads its checkpoint and runs the rest.
  @Test("a resumed run ends with the same bits", arguments: FeatureRates.allCases)
  func aResumedRunEndsWithTheSameBits(rates: FeatureRates) throws {
    let whole = try run.trainer("whole") { $0.featureRates = rates }
    for epoch in 0..<4 { try whole.train(epoch: epoch) }
    let first = try run.trainer("cut") { $0.featureRates = rates }
    try first.train(epoch: 0)
    let second = try run.trainer("cut") { $0.featureRates = rates }
    try second.resume()
    #expect(second.step == first.step)
    for epoch in 0..<4 where second.step < second.plan.lastStep(ofEpoch: epoch) { try second.train(epoch: epoch) }
    #expect(second.optimizer.weights.values == whole.optimizer.weights.values)
    #expect(second.optimizer.secondMoment.values == whole.optimizer.secondMoment.values)
    let (a, b) = (try run.metrics("whole"), try run.metrics("cut"))
    #expect(a.map(\.loss) == b.map(\.loss) && a.map(\.step) == b.map(\.step))
  }

  /// Every number of the metrics is in the events, each frame's checksums hold, and a step that a restart repeats
  /// counts once.
  @Test("TensorBoard events hold the metrics, each step once") func eventsHoldTheMetrics() throws {
    #expect(EventReader.crc32c(Array("123456789".utf8)) == 0xe306_9283)
    let first = try run.trainer("events") { ($0.tensorboard, $0.keepCheckpoints) = (true, 9) }
    for epoch in 0..<2 { try first.train(epoch: epoch) }
    let end = first.plan.lastStep(ofEpoch: 0)
    // The state after a kill of the second epoch before its checkpoint.
    for name in try CheckpointFolder.names(in: "\(run.path)/events") where name > CheckpointFolder.name(step: end) {
      try FileManager.default.removeItem(atPath: "\(run.path)/events/\(name)")
    }
    let second = try run.trainer("events") { $0.tensorboard = true }
    try second.resume()
    try #require(second.step == end)
    for epoch in 1..<4 { try second.train(epoch: epoch) }
    second.didEvaluate(
      EvaluationRecord(epoch: 4, step: second.step, benchmarks: [:], heldOut: try second.heldOutMetrics()))

    let folder = "\(run.path)/events/tensorboard"
    let files = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
    try #require(files.count == 2)
    var kept: [EventReader.Event] = []
    for file in files {
      let events = try EventReader.events("\(folder)/\(file)")
      #expect(events[0].version == "brain.Event:2" && events[1].startsSession)
      kept = kept.filter { $0.step < events[1].step } + events.dropFirst(2)
    }
    #expect(kept.last?.scalars["held_out/loss"] != nil)
    let lines = try run.metrics("events")
    #expect(kept.dropLast().map(\.step) == lines.map(\.step))
    for (event, line) in zip(kept, lines) {
      let expected = [
        "loss": line.loss, "lr": line.lr, "grad_norm": line.gradNorm, "tokens_per_second": line.tokensPerSecond,
        "simulated_acceptance_length": line.simulatedAcceptanceLength, "accuracy/1": line.accuracy[0],
        "accuracy/3": line.accuracy[2], "acceptance/2": line.acceptance[1],
        "loss_by_position/3": line.lossByPosition![2],
      ]
      for (tag, value) in expected { #expect(event.scalars[tag] == Float(value), "step \(line.step), \(tag)") }
      #expect(event.scalars.count == 5 + 3 * 3)
    }
  }

  /// Rank counts of the two parts of a run, the second with or without a sharded optimiser.
  @Test(
    "a run resumes with another number of ranks",
    arguments: [(1, 3, true), (3, 1, false), (2, 3, true), (3, 2, false)])
  func aRunGoesOnWithAnotherNumberOfRanks(first: Int, second: Int, isSharded: Bool) throws {
    let alone = try run.trainer("elastic-alone") { $0.featureRates = .bySize }
    for epoch in 0..<4 { try alone.train(epoch: epoch) }
    let run = run
    let output = "elastic-\(first)-\(second)"
    _ = try LoopbackCommunicator.run(size: first) { cluster in
      let trainer = try run.trainer(output, epochs: 4, cluster: cluster) {
        ($0.shardOptimizer, $0.featureRates) = (!isSharded, .bySize)
      }
      try trainer.train(epoch: 0)
      try trainer.train(epoch: 1)
    }
    _ = try LoopbackCommunicator.run(size: second) { cluster in
      let trainer = try run.trainer(output, epochs: 4, cluster: cluster) {
        ($0.shardOptimizer, $0.featureRates) = (isSharded, .bySize)
      }
      try trainer.resume()
      #expect(trainer.step == trainer.plan.lastStep(ofEpoch: 1))
      for epoch in 2..<4 { try trainer.train(epoch: epoch) }
    }
    let (a, b) = (try run.metrics("elastic-alone"), try run.metrics(output))
    #expect(a.map(\.step) == b.map(\.step))
    for (a, b) in zip(a, b) { #expect(abs(a.loss - b.loss) < 1e-4, "step \(a.step)") }
  }

  /// With or without sharding, all ranks have the same weights at the end, to rounding.
  @Test("a sharded optimiser gives the same weights to rounding") func aShardedOptimiserTakesTheSameSteps() throws {
    let run = run
    func weights(isSharded: Bool, _ wire: ComputePrecision = .fp32) throws -> [[Float]] {
      try LoopbackCommunicator.run(size: 3) { cluster in
        let trainer = try run.trainer("sharded-\(isSharded)-\(wire)", cluster: cluster, gradients: wire) {
          $0.shardOptimizer = isSharded
        }
        for epoch in 0..<4 { try trainer.train(epoch: epoch) }
        if isSharded { #expect(trainer.optimizer.firstMoment.count * 2 < trainer.optimizer.weights.count) }
        return trainer.optimizer.weights.values
      }
    }
    let (whole, sharded) = (try weights(isSharded: false), try weights(isSharded: true))
    #expect(whole[0] == whole[1] && whole[0] == whole[2] && sharded[0] == sharded[1] && sharded[0] == sharded[2])
    func difference(_ other: [Float]) -> Float { zip(whole[0], other).reduce(0) { max($0, abs($1.0 - $1.1)) } }
    // because: the norm of the gradient is added up in another order, and AdamW divides by the size of tiny gradients
    #expect(difference(sharded[0]) < 2e-4)
    let narrow = try weights(isSharded: false, .bf16)
    #expect(narrow[0] == narrow[2] && difference(narrow[0]) > 0)
  }

  /// Each rank is a node with its own disk, which has one of the shards, or both.
  @Test("nodes without a shared disk give the losses of one rank", arguments: [[[0], [1]], [[0, 1], [1], [0]]])
  func nodesWithoutASharedDiskTrainAlike(disks: [[Int]]) throws {
    let alone = try run.trainer("disk-alone")
    for epoch in 0..<2 { try alone.train(epoch: epoch) }
    let heldOut = try #require(try alone.heldOutMetrics())
    let (run, output) = (run, "disks-\(disks.count)")
    let losses = try LoopbackCommunicator.run(size: disks.count, ranksPerNode: 1) { cluster -> Double in
      let folder = "\(run.path)/\(output)-disk-\(cluster.rank)"
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      for name in ["manifest.json"] + disks[cluster.rank].map(CaptureManifest.shardName) {
        try FileManager.default.copyItem(atPath: "\(run.path)/store/\(name)", toPath: "\(folder)/\(name)")
      }
      let store = try CaptureStore(folder: folder, lengths: run.store.lengths, presence: .partial)
      let trainer = try run.trainer(output, cluster: cluster, store: store, masksOf: run.store)
      for epoch in 0..<2 { try trainer.train(epoch: epoch) }
      return try trainer.heldOutMetrics()?.loss ?? 0
    }
    for (a, b) in zip(try run.metrics("disk-alone"), try run.metrics(output)) { #expect(abs(a.loss - b.loss) < 1e-5) }
    #expect(losses.allSatisfy { abs($0 - heldOut.loss) < 1e-4 })
  }

  @Test("a shard that no node has is named") func aShardThatNoNodeHasIsNamed() throws {
    let run = run
    let error = #expect(throws: LocatedError.self) {
      _ = try LoopbackCommunicator.run(size: 2, ranksPerNode: 1) { cluster in
        let folder = "\(run.path)/lost-disk-\(cluster.rank)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        for name in ["manifest.json", "shard-00000.h5"] {
          try FileManager.default.copyItem(atPath: "\(run.path)/store/\(name)", toPath: "\(folder)/\(name)")
        }
        let store = try CaptureStore(folder: folder, lengths: run.store.lengths, presence: .partial)
        return try run.trainer("lost", cluster: cluster, store: store).step
      }
    }
    #expect(error?.description.contains("shard-00001.h5: no node has this shard") == true, "\(error as Any)")
  }

  @Test("more epochs resume from the last checkpoint") func moreEpochsGoOnFromTheLastCheckpoint() throws {
    let first = try run.trainer("more", epochs: 1)
    try first.train(epoch: 0)
    let second = try run.trainer("more", epochs: 3)
    try second.resume()
    #expect(second.step == first.step)
    for epoch in 1..<3 { try second.train(epoch: epoch) }
    #expect(try run.metrics("more").map(\.step) == Array(1...second.plan.totalSteps))
  }

  @Test("a step with non-finite values is skipped, and its conversations are named", arguments: [1, 3])
  func stepsWithoutUsableNumbersAreLeftOut(ranks: Int) throws {
    try FileManager.default.createDirectory(atPath: "\(run.path)/poisoned", withIntermediateDirectories: true)
    let store = try SmallRun.write(to: "\(run.path)/poisoned", run.target, poisoned: [4])
    let run = run
    let output = "skips-\(ranks)"
    let weights = try LoopbackCommunicator.run(size: ranks) { cluster in
      let trainer = try run.trainer(output, cluster: cluster, store: store) { $0.featureRates = .bySize }
      try trainer.train(epoch: 0)
      return trainer.optimizer.weights.values
    }
    #expect(weights.allSatisfy { $0.allSatisfy(\.isFinite) && $0 == weights[0] })
    let text = try String(contentsOfFile: "\(run.path)/\(output)/metrics.jsonl", encoding: .utf8)
    let lines = text.split(separator: "\n").map { Data($0.utf8) }
    let skipped = lines.compactMap { try? JSONDecoder().decode(SkippedStep.self, from: $0) }
    #expect(skipped.count == 1 && skipped[0].conversations == ["conversation 4"])
    #expect(try lines.count == run.trainer("unused").plan.epochs[0].count)
  }

  /// If every batch is non-finite, the run ends, and its newest checkpoint is from before.
  @Test("too many skipped steps end the run and keep the last checkpoint") func tooManySkippedStepsEndTheRun() throws {
    let folder = "\(run.path)/all-poisoned"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let first = try run.trainer("spoilt")
    try first.train(epoch: 0)
    let store = try SmallRun.write(to: folder, run.target, poisoned: Set(0..<24))
    let second = try run.trainer("spoilt", store: store) { $0.maxSkippedSteps = 2 }
    try second.resume()
    let error = #expect(throws: LocatedError.self) { try second.train(epoch: 1) }
    #expect(error?.description.contains("3 steps in a row") == true)
    #expect(error?.description.contains("conversation") == true)
    let third = try run.trainer("spoilt")
    try third.resume()
    #expect(third.step == first.step && third.optimizer.weights.values == first.optimizer.weights.values)
  }

  @Test("a stop request on one rank stops all ranks with a checkpoint")
  func aWishToStopLeavesACheckpointOfTheStep() throws {
    let run = run
    let steps = try LoopbackCommunicator.run(size: 2) { cluster -> Int in
      let stop = StopRequest()
      let trainer = try run.trainer("stopped", cluster: cluster, stop: stop)
      // Only one rank receives the stop.
      if cluster.rank == 1 { stop.make("SIGTERM") }
      #expect(throws: StoppedRun.self) { try trainer.train(epoch: 0) }
      return trainer.step
    }
    #expect(steps == [1, 1])
    let again = try run.trainer("stopped")
    try again.resume()
    #expect(again.step == 1)
  }

  @Test("a damaged checkpoint is skipped for the one before")
  func aDamagedCheckpointIsPassedOverForTheOneBefore() throws {
    let first = try run.trainer("damaged")
    try first.train(epoch: 0)
    let names = try CheckpointFolder.names(in: "\(run.path)/damaged")
    #expect(names.count >= 2)
    let file = URL(fileURLWithPath: "\(run.path)/damaged/\(names.last!)/state.safetensors")
    var data = try Data(contentsOf: file)
    data[data.count - 5] ^= 1
    try data.write(to: file)
    let second = try run.trainer("damaged")
    try second.resume()
    #expect(CheckpointFolder.name(step: second.step) == names[names.count - 2])
  }

  @Test("a checkpoint of other settings is refused") func aCheckpointOfAnotherRunIsRefused() throws {
    let first = try run.trainer("other")
    try first.train(epoch: 0)
    let checkpoint = try #require(try CheckpointFolder.newestValid(in: "\(run.path)/other") { _ in })
    var info = try TrainingCheckpoint.info(checkpoint)
    info.identity?.settings["train.beta1"] = "0.5"
    try CheckpointFolder.write(
      parent: "\(run.path)/other", name: "step-00000999", info: try JSONEncoder().encode(info)
    ) { folder in
      try FileManager.default.copyItem(
        atPath: checkpoint.path(of: "state.safetensors"), toPath: "\(folder)/state.safetensors")
    }
    let second = try run.trainer("other")
    let error = #expect(throws: LocatedError.self) { try second.resume() }
    #expect(
      error?.description.contains("other settings: train.beta1 0.5, and now it is 0.9") == true, "\(error as Any)")
  }

  @Test("a checkpoint gives the trained head") func aCheckpointExportsTheTrainedHead() throws {
    let trainer = try run.trainer("export")
    try trainer.train(epoch: 0)
    let checkpoint = try #require(try CheckpointFolder.newestValid(in: "\(run.path)/export") { _ in })
    let draft = try TrainingCheckpoint.draft(checkpoint, target: run.target.shape)
    for (a, b) in zip(draft.parameters, trainer.optimizer.draft.parameters) {
      #expect(a.variable.value.values == b.variable.value.values)
    }
    #expect(draft.vocabulary == trainer.optimizer.draft.vocabulary)
  }
}
