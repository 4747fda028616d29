import EagleCaptureStore
import EagleCluster
import EagleCore
import EagleData
import EagleModels
import EagleText
import EagleTraining
import Foundation
import Testing

/// Conversations of the tiny Llama target in a folder of their own, captured to stores in the same folder.
private final class SmallCapture: Sendable {
  let path = NSTemporaryDirectory() + "/eagle-capture-" + UUID().uuidString
  let target: TargetModel

  init() throws {
    let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    target = try TargetModel(folder: tests.appendingPathComponent("Fixtures/tiny-llama").path, precision: .fp32)
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// Conversations 0..<count of 10 tokens each.
  ///
  /// - Parameters:
  ///   - changed: conversations with changed tokens
  ///   - trainsAll: whether the loss masks train every token, or all but three
  func data(_ name: String, count: Int = 8, changed: Set<Int> = [], trainsAll: Bool = false) throws -> PreparedData {
    let file = "\(path)/\(name).h5"
    let writer = try TokenStoreWriter(path: file)
    for conversation in 0..<count {
      let salt = changed.contains(conversation) ? 13 : 0
      let ids = (0..<10).map { Int32(($0 * 7 + conversation * 5 + salt) % 64) }
      try writer.append(ids: ids, mask: (0..<10).map { trainsAll || $0 > 2 ? 1 : 0 })
    }
    try writer.finish()
    return PreparedData(
      tokens: try TokenStore(path: file),
      vocabulary: .mostFrequent(counts: [Int](repeating: 1, count: 64), size: 40, always: []), fingerprint: name)
  }

  @discardableResult
  func capture(
    _ data: PreparedData, to folder: String, cluster: any Communicator = SoloCommunicator(),
    precision: ComputePrecision = .fp32, progress: ProgressSink = SilentProgress(), stop: StopRequest = StopRequest(),
    change: (inout CaptureConfig) -> Void = { _ in }
  ) throws -> CaptureStore {
    var config = CaptureConfig()
    (config.layers, config.shardTokens) = (.listed([0, 1, 2]), 20)
    change(&config)
    return try CapturePass(
      states: try StateCapture(target: target, config: config, precision: precision), data: data, config: config,
      cluster: cluster, progress: progress, stop: stop
    ).run(folder: "\(path)/\(folder)")
  }

  /// Bytes of every shard in a folder.
  func shards(_ folder: String) throws -> [String: Data] {
    let names = try FileManager.default.contentsOfDirectory(atPath: "\(path)/\(folder)")
    let shards = names.filter { $0.hasSuffix(".h5") }
    return try Dictionary(
      uniqueKeysWithValues: shards.map { ($0, try Data(contentsOf: URL(fileURLWithPath: "\(path)/\(folder)/\($0)"))) })
  }

  func inode(_ shard: Int, _ folder: String) throws -> Int {
    let attributes = try FileManager.default.attributesOfItem(
      atPath: "\(path)/\(folder)/\(CaptureManifest.shardName(shard))")
    return try #require(attributes[.systemFileNumber] as? Int)
  }

  /// Checks that a store contains exactly this data, and the states of a new capture.
  func expect(_ store: CaptureStore, holds data: PreparedData, like fresh: CaptureStore) throws {
    #expect(store.lengths == data.tokens.lengths)
    for conversation in store.lengths.indices where store.holds[store.shard(of: conversation)] {
      let (read, wanted) = (try store.read(conversation: conversation), try data.tokens.conversation(conversation))
      #expect(read.ids == wanted.ids && read.lossMask == wanted.mask, "conversation \(conversation)")
      let (states, others) = (
        read.auxHidden.float32().values, try fresh.read(conversation: conversation).auxHidden.float32().values
      )
      // because: with other conversations in the same pass, a state may be rounded to a neighbouring bfloat16
      let isNear = zip(states, others).allSatisfy { abs($0 - $1) <= 0.01 * max(0.01, abs($1)) }
      #expect(isNear, "conversation \(conversation)")
    }
  }
}

@Suite struct CapturePassTests {
  private let small: SmallCapture

  init() throws { small = try SmallCapture() }

  @Test("other loss masks replace masks only: the shards keep their states and files")
  func otherMasks() throws {
    let (first, second) = (try small.data("first"), try small.data("second", trainsAll: true))
    try small.capture(first, to: "a")
    let inodes = try (0..<4).map { try small.inode($0, "a") }
    let store = try small.capture(second, to: "a")
    #expect(try (0..<4).map { try small.inode($0, "a") } == inodes)
    try small.expect(store, holds: second, like: try small.capture(second, to: "fresh"))
    #expect(store.manifest.dataFingerprint == "second")
  }

  @Test("changed tokens are captured again, and only their shards")
  func changedTokens() throws {
    try small.capture(try small.data("first"), to: "a")
    let inodes = try (0..<4).map { try small.inode($0, "a") }
    let second = try small.data("second", changed: [5])
    let store = try small.capture(second, to: "a")
    let now = try (0..<4).map { try small.inode($0, "a") }
    #expect(zip(now, inodes).map { $0 == $1 } == [true, true, false, true])
    try small.expect(store, holds: second, like: try small.capture(second, to: "fresh"))
  }

  @Test("appended data makes new shards only, even behind a shard that was not full")
  func appendedData() throws {
    try small.capture(try small.data("first", count: 7), to: "a")
    let inodes = try (0..<4).map { try small.inode($0, "a") }
    let second = try small.data("second", count: 10)
    let store = try small.capture(second, to: "a")
    #expect(try (0..<4).map { try small.inode($0, "a") } == inodes)
    #expect(store.manifest.shards.map(\.conversations) == [2, 2, 2, 1, 2, 1])
    try small.expect(store, holds: second, like: try small.capture(second, to: "fresh"))
  }

  @Test(
    "a partition with counts that cannot be is not kept",
    arguments: [
      #"[{"conversations": 1, "rows": 9223372036854775807}]"#,
      #"[{"conversations": 1, "rows": 10}, {"conversations": 9223372036854775807, "rows": 10}]"#,
    ])
  func impossiblePartition(entries: String) throws {
    let folder = "\(small.path)/a"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    try Data(entries.utf8).write(to: URL(fileURLWithPath: "\(folder)/partition.json"))
    let store = try small.capture(try small.data("first"), to: "a")
    #expect(store.manifest.shards.map(\.conversations) == [2, 2, 2, 2])
  }

  @Test("less data and another shard size leave no shard of an old partition behind")
  func oldShardsGo() throws {
    try small.capture(try small.data("first"), to: "a")
    let second = try small.data("second", count: 2, changed: [0])
    try small.capture(second, to: "a") { $0.shardTokens = 1000 }
    #expect(try small.shards("a").keys.sorted() == ["shard-00000.h5"])
  }

  @Test("a store of another precision is refused, whole or unfinished, and nothing is changed")
  func anotherPrecision() throws {
    let (small, data) = (small, try small.data("first"))
    try small.capture(data, to: "a")
    let before = try small.shards("a")
    let expected = "captured with precision fp32, but this run computes bf16"
    var error = #expect(throws: LocatedError.self) { try small.capture(data, to: "a", precision: .bf16) }
    #expect(error?.description.contains(expected) == true, "\(error as Any)")
    // The state after a kill before the end.
    for name in ["manifest.json", "shard-00001.h5"] {
      try FileManager.default.removeItem(atPath: "\(small.path)/a/\(name)")
    }
    error = #expect(throws: LocatedError.self) { try small.capture(data, to: "a", precision: .bf16) }
    #expect(error?.description.contains(expected) == true, "\(error as Any)")
    #expect(try small.shards("a") == before.filter { $0.key != "shard-00001.h5" })
    error = #expect(throws: LocatedError.self) {
      _ = try LoopbackCommunicator.run(size: 2, ranksPerNode: 1) { cluster in
        try small.capture(data, to: "a", cluster: cluster, precision: .bf16) { $0.store = .node }.tokenCount
      }
    }
    #expect(error?.description.contains(expected) == true, "\(error as Any)")
  }

  @Test(
    "a store of version 1 is taken over by comparing its tokens, if its manifest says the precision that is wanted",
    arguments: ["fp32", "bf16"])
  func versionOne(said: String) throws {
    let data = try small.data("first", count: 4)
    let store = try small.capture(data, to: "a")
    for shard in 0..<2 {
      let conversations = try (2 * shard..<2 * shard + 2).map { try store.read(conversation: $0) }
      let writer = try CaptureShardWriter(
        path: "\(small.path)/a/\(CaptureManifest.shardName(shard))", attributes: store.manifest.attributes, version: 1)
      for conversation in conversations {
        try writer.append(
          ids: conversation.ids, mask: conversation.lossMask, auxHidden: conversation.auxHidden,
          lastHidden: conversation.lastHidden, teacherArgmax: try #require(conversation.teacherArgmax),
          teacherLogSum: try #require(conversation.teacherLogSum))
      }
      try writer.finish()
      #expect(try CaptureShard(path: "\(small.path)/a/\(CaptureManifest.shardName(shard))").fingerprint == nil)
    }
    let manifest = URL(fileURLWithPath: "\(small.path)/a/manifest.json")
    var fields = try #require(
      try JSONSerialization.jsonObject(with: Data(contentsOf: manifest)) as? [String: Any])
    (fields["version"], fields["precision"], fields["data_fingerprint"]) = (1, nil, "first, captured in \(said)")
    fields["shards"] = (fields["shards"] as? [[String: Any]])?.map { $0.filter { !$0.key.contains("fingerprint") } }
    try JSONSerialization.data(withJSONObject: fields).write(to: manifest)
    let inodes = try (0..<2).map { try small.inode($0, "a") }
    let second = try small.data("second", count: 4, trainsAll: true)
    let updated = try small.capture(second, to: "a")
    try small.expect(updated, holds: second, like: try small.capture(second, to: "fresh"))
    // The target's precision is fp32; states of another precision are captured again.
    #expect(try ((0..<2).map { try small.inode($0, "a") } == inodes) == (said == "fp32"))
    for shard in 0..<2 {
      let path = "\(small.path)/a/\(CaptureManifest.shardName(shard))"
      #expect(try CaptureShard(path: path).attributes.precision == .fp32)
    }
  }

  @Test("ranks whose processors compute different precisions are told before the first shard")
  func mixedProcessors() throws {
    let (small, data) = (small, try small.data("first"))
    let error = #expect(throws: LocatedError.self) {
      _ = try LoopbackCommunicator.run(size: 2) { cluster in
        try small.capture(data, to: "a", cluster: cluster, precision: cluster.isRoot ? .bf16 : .fp32).tokenCount
      }
    }
    #expect(error?.description.contains("rank 0 computes states in bf16, rank 1 in fp32") == true, "\(error as Any)")
    #expect(error?.advice?.contains("target.precision to fp32") == true)
    #expect(!FileManager.default.fileExists(atPath: "\(small.path)/a"))
  }

  /// Calls its closure with the finished work, for each report of progress.
  private final class Progress: ProgressSink {
    private let body: (Int) -> Void
    init(_ body: @escaping (Int) -> Void) { self.body = body }
    func advance(_: String, done: Int, total _: Int, unit _: String, note _: String) { body(done) }
    func finish(_: String, _: String) {}
    func say(_: String) {}
  }

  @Test("a shard that another rank has only begun counts as not done")
  func progressOfRanks() throws {
    let (small, data) = (small, try small.data("first", count: 40))
    let (hasBegun, hasDrained) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
    let progress = try LoopbackCommunicator.run(size: 2) { cluster -> [Int] in
      var seen: [Int] = []
      // A rank that ends early for any reason releases the other one.
      let own = cluster.isRoot ? hasDrained : hasBegun
      defer { own.signal() }
      // Rank 1 begins its first shard and waits in it, until rank 0 has finished the other 39, with two reports each.
      let progress = Progress { done in
        seen.append(done)
        switch (cluster.rank, seen.count) {
        case (0, 1): _ = hasBegun.wait(timeout: .now() + 300)
        case (0, 78): hasDrained.signal()
        case (1, 1):
          hasBegun.signal()
          _ = hasDrained.wait(timeout: .now() + 300)
        default: break
        }
      }
      _ = try small.capture(data, to: "a", cluster: cluster, progress: progress) { $0.shardTokens = 10 }
      return seen
    }
    // Shards have 10 tokens. The first two begin with nothing done, on both ranks.
    #expect(progress.map(\.first) == [0, 0])
    // After 10 tokens of its own, a rank assumes that the other one has done as many. Ticket t means that at most t
    // shards are done, namely all before it.
    let alone = (2..<40).flatMap { [10 * $0, min(400, 10 * $0 + 20)] }
    #expect(progress == [[0, 20] + alone, [0, 20]])
  }

  @Test("a stop that one rank hears ends capture on the others behind the shard at hand, and finished shards stay")
  func oneRankStops() throws {
    let (small, data) = (small, try small.data("first", count: 100))
    let hasStopped = DispatchSemaphore(value: 0)
    let stopped = try LoopbackCommunicator.run(size: 2) { cluster -> Bool in
      let stop = StopRequest()
      // Rank 1 stops in its first shard. Rank 0 waits for that in its own.
      let progress = Progress { _ in
        if cluster.rank == 1 { stop.make("SIGTERM") } else { _ = hasStopped.wait(timeout: .now() + 300) }
        hasStopped.signal()
      }
      let error = #expect(throws: StoppedRun.self) {
        try small.capture(data, to: "a", cluster: cluster, progress: progress, stop: stop) { $0.shardTokens = 10 }
      }
      return error != nil
    }
    #expect(stopped == [true, true])
    let finished = try small.shards("a").count
    #expect(finished < 100)
    try small.expect(
      try small.capture(data, to: "a") { $0.shardTokens = 10 }, holds: data, like: try small.capture(data, to: "fresh"))
  }

  @Test(
    "nodes with disks of their own keep no shard of other data",
    arguments: [[1, 6], [], [0]], [false, true])
  func nodesAndOtherData(changed: [Int], trainsAll: Bool) throws {
    let first = try small.data("first")
    let second = try small.data("second", changed: Set(changed), trainsAll: trainsAll)
    let small = small
    func run(_ data: PreparedData) throws {
      _ = try LoopbackCommunicator.run(size: 2, ranksPerNode: 1) { cluster in
        try small.capture(data, to: "disk-\(cluster.rank)", cluster: cluster) { $0.store = .node }.tokenCount
      }
    }
    try run(first)
    try run(second)
    let fresh = try small.capture(second, to: "fresh")
    var held = Set<Int>()
    for disk in 0..<2 {
      let store = try CaptureStore(
        folder: "\(small.path)/disk-\(disk)", lengths: second.tokens.lengths, presence: .partial)
      try small.expect(store, holds: second, like: fresh)
      held.formUnion(store.holds.indices.filter { store.holds[$0] })
    }
    #expect(held == Set(0..<4))
  }
}
