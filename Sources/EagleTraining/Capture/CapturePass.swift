import EagleCluster
import EagleModels
import EagleStorage
import EagleTensor
import Foundation

/// Runs the frozen target over the prepared conversations and writes its states to the capture store.
///
/// Conversations go to shards in their order; each rank takes the next missing shard when it is done with one. A shard
/// that is there and right is kept, so a second run finds everything done and an interrupted one captures what is missing.
public struct CapturePass {
  /// Tokens that run through the target at a time.
  static let batchTokens = 2048

  private let states: StateCapture
  private let data: PreparedData
  private let shardTokens: Int
  private let sharing: CaptureSharing
  private let cluster: any Communicator
  private let progress: ProgressSink
  private let stop: StopRequest
  private let clock: PhaseClock

  public init(
    target: TargetModel, data: PreparedData, config: CaptureConfig, cluster: any Communicator,
    progress: ProgressSink, stop: StopRequest = StopRequest(), clock: PhaseClock = PhaseClock()
  ) throws {
    states = try StateCapture(target: target, config: config)
    self.data = data
    (shardTokens, sharing) = (config.shardTokens, config.store)
    self.cluster = cluster
    self.progress = progress
    self.stop = stop
    self.clock = clock
  }

  /// Writes what is missing, on all ranks.
  ///
  /// - Throws: when the folder holds a store of another target, other layers, other data or another precision;
  ///   `StoppedRun` when a stop was asked for, with the finished shards in place
  public func run(folder: String) throws -> CaptureStore {
    // One rank looks, so that a disk that shows ranks different states cannot part them.
    if sharing == .shared, try cluster.anyTrue(cluster.isRoot && isComplete(folder)) {
      let store = try CaptureStore(folder: folder)
      progress.finish("capture", "up to date: \(store.tokenCount) tokens in \(store.manifest.shards.count) shards")
      return store
    }
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let shards = shards()
    let missing = try missing(shards, folder)
    var meter = Meter(progress: progress, total: data.tokens.tokenCount, ranks: cluster.size)
    let next = try cluster.tickets()
    while !stop.isMade {
      let ticket = try next()
      guard ticket < missing.count else { break }
      // Shards with smaller tickets are done, or under way on other ranks.
      meter.begin(at: data.tokens.tokenCount - missing[ticket...].reduce(0) { $0 + tokens(of: shards[$1]) })
      let index = missing[ticket]
      try write(shards[index], to: "\(folder)/\(CaptureManifest.shardName(index))", &meter)
    }
    try stop.throwIfAnyRankStops(cluster, during: "capture")
    if sharing == .shared ? cluster.isRoot : cluster.isFirstOfNode { try writeManifest(shards, folder) }
    try cluster.barrier()
    let store = try CaptureStore(folder: folder, lengths: sharing == .node ? data.tokens.lengths : nil)
    progress.finish("capture", "\(data.tokens.tokenCount) tokens in \(shards.count) shards, \(meter.rate)")
    return store
  }

  /// Shards that no rank sees whole and right. The ranks that share a disk share the looking. Collective.
  private func missing(_ shards: [Range<Int>], _ folder: String) throws -> [Int] {
    let lookers = (0..<cluster.size).filter { sharing == .shared || cluster.nodes[$0] == cluster.nodes[cluster.rank] }
    let mine = lookers.firstIndex(of: cluster.rank)!
    var isHere = [UInt8](repeating: 0, count: shards.count)
    for index in shards.indices where index % lookers.count == mine {
      if try isDone("\(folder)/\(CaptureManifest.shardName(index))", shards[index]) { isHere[index] = 1 }
    }
    let all = try cluster.gather(Data(isHere))
    return shards.indices.filter { index in all.allSatisfy { $0[$0.startIndex + index] == 0 } }
  }

  private var attributes: CaptureAttributes { states.attributes }

  /// What the states were computed from and how.
  private var dataFingerprint: String { "\(data.tokensFingerprint), captured in \(states.target.precision.rawValue)" }

  /// Whether a store of this target and data is there. One with a missing or damaged shard counts as unfinished: its
  /// manifest goes, and the shards that are right stay.
  private func isComplete(_ folder: String) throws -> Bool {
    let path = CaptureManifest.path(in: folder)
    guard FileManager.default.fileExists(atPath: path) else { return false }
    let manifest = try CaptureManifest(folder: folder)
    try manifest.validate(attributes, dataFingerprint: dataFingerprint, path: folder)
    do {
      _ = try CaptureStore(folder: folder)
      return true
    } catch {
      progress.say("\(error); capturing what is missing")
      try FileManager.default.removeItem(atPath: path)
      return false
    }
  }

  /// Conversations of each shard: full once it holds the wanted tokens.
  private func shards() -> [Range<Int>] {
    var result: [Range<Int>] = []
    var (start, tokens) = (0, 0)
    for (conversation, length) in data.tokens.lengths.enumerated() {
      tokens += length
      if tokens >= shardTokens || conversation + 1 == data.tokens.conversationCount {
        result.append(start..<conversation + 1)
        (start, tokens) = (conversation + 1, 0)
      }
    }
    return result
  }

  private func tokens(of shard: Range<Int>) -> Int { data.tokens.lengths[shard].reduce(0, +) }

  /// Whether a complete shard of exactly these conversations is there. One of another model is an error; an unreadable
  /// one is written again.
  private func isDone(_ path: String, _ conversations: Range<Int>) throws -> Bool {
    guard FileManager.default.fileExists(atPath: path), let shard = try? CaptureShard(path: path) else { return false }
    guard shard.attributes == attributes else {
      throw TrainingError(
        path: path, problem: "the shard was captured from another target or other layers",
        advice: "remove the capture folder, or choose another output")
    }
    guard shard.conversationCount == conversations.count else { return false }
    for (index, conversation) in conversations.enumerated() {
      let (stored, wanted) = (try shard.readTokens(conversation: index), try data.tokens.conversation(conversation))
      guard stored.ids == wanted.ids, stored.lossMask == wanted.mask else { return false }
    }
    return true
  }

  /// Leaves nothing when a stop is asked for on the way.
  private func write(_ conversations: Range<Int>, to path: String, _ meter: inout Meter) throws {
    let writer = try CaptureShardWriter(path: path, attributes: attributes)
    let batches = BatchPlan.microBatches(Array(conversations), lengths: data.tokens.lengths, tokens: Self.batchTokens)
    for batch in batches {
      if stop.isMade { return }
      let tokens = try batch.map { try data.tokens.conversation($0) }
      try append(tokens, to: writer)
      meter.add(tokens.reduce(0) { $0 + $1.ids.count })
    }
    try clock.measure(.writing) { try writer.finish() }
  }

  private func append(_ conversations: [(ids: [Int32], mask: [UInt8])], to writer: CaptureShardWriter) throws {
    let rows = clock.measure(.target) { states.run(conversations.map(\.ids)) }
    // What training sees is the stored state, so the teacher's facts are those of that state.
    let facts = clock.measure(.targetHead) { states.facts(rows.last) }
    try clock.measure(.writing) {
      for (conversation, range) in zip(conversations, rows.ranges) {
        try writer.append(
          ids: conversation.ids, mask: conversation.mask, auxHidden: rows.aux.slice(range),
          lastHidden: rows.last.slice(range), teacherArgmax: Array(facts.argmax[range]),
          teacherLogSum: Array(facts.logSum[range]))
      }
    }
  }

  private func writeManifest(_ shards: [Range<Int>], _ folder: String) throws {
    let entries = shards.enumerated().map { index, shard in
      CaptureManifest.Shard(
        file: CaptureManifest.shardName(index), rows: tokens(of: shard), conversations: shard.count)
    }
    try CaptureManifest(attributes: attributes, dataFingerprint: dataFingerprint, shards: entries).write(to: folder)
  }
}

/// Tokens done and how fast.
private struct Meter {
  let progress: ProgressSink
  let total: Int
  let ranks: Int
  private var done = 0
  private var computed = 0
  private let clock = ContinuousClock()
  private let start = ContinuousClock().now

  init(progress: ProgressSink, total: Int, ranks: Int) {
    self.progress = progress
    self.total = total
    self.ranks = ranks
  }

  /// - Parameter done: tokens of the shards before
  mutating func begin(at done: Int) {
    self.done = done
    note()
  }

  /// The other ranks are taken to be as fast as this one, until the next shard tells how far they are.
  mutating func add(_ tokens: Int) {
    done = min(total, done + tokens * ranks)
    computed += tokens
    note()
  }

  var rate: String {
    guard computed > 0 else { return "all of them were there" }
    return String(format: "%.0f tokens/s a rank", Double(computed) / start.duration(to: clock.now).inSeconds)
  }

  private func note() {
    progress.advance("capture", done: done, total: total, unit: "tokens", note: computed > 0 ? rate : "")
  }
}

extension CaptureConfig {
  /// The layers to capture of this target.
  public func layers(of target: TargetShape) -> [Int] {
    if case .listed(let ids) = layers { return ids }
    return target.defaultCaptureLayers
  }
}
