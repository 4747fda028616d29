import EagleCluster
import EagleModels
import EagleStorage
import EagleTensor
import Foundation

/// Runs the frozen target over the prepared conversations and writes its states to the capture store.
///
/// Conversations go to shards in their order, shards to ranks in turn. A shard that is there and right is kept, so a
/// second run finds everything done and an interrupted one goes on at the first missing shard.
public struct CapturePass {
  /// Tokens that run through the target at a time.
  static let batchTokens = 2048

  private let target: TargetModel
  private let data: PreparedData
  private let layers: [Int]
  private let shardTokens: Int
  private let precision: Precision
  private let cluster: any Communicator
  private let progress: ProgressSink
  private let clock: PhaseClock

  public init(
    target: TargetModel, precision: Precision, data: PreparedData, config: CaptureConfig, cluster: any Communicator,
    progress: ProgressSink, clock: PhaseClock = PhaseClock()
  ) throws {
    self.target = target
    self.data = data
    layers = config.layers(of: target.shape)
    try target.shape.validate(captureLayers: layers, path: "capture.layers")
    shardTokens = config.shardTokens
    self.precision = precision
    self.cluster = cluster
    self.progress = progress
    self.clock = clock
  }

  /// Writes what is missing, on all ranks.
  ///
  /// - Throws: when the folder holds a store of another target, other layers, other data or another precision
  public func run(folder: String) throws -> CaptureStore {
    // One rank looks, so that a disk that shows ranks different states cannot part them.
    if try cluster.anyTrue(cluster.isRoot && isComplete(folder)) {
      let store = try CaptureStore(folder: folder)
      progress.finish("capture", "up to date: \(store.tokenCount) tokens in \(store.manifest.shards.count) shards")
      return store
    }
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let shards = shards()
    let mine = shards.indices.filter { $0 % cluster.size == cluster.rank }
    let total = mine.reduce(0) { $0 + tokens(of: shards[$1]) }
    var meter = Meter(progress: progress, total: total)
    for index in mine {
      let path = "\(folder)/\(CaptureManifest.shardName(index))"
      if try isDone(path, shards[index]) {
        meter.skip(tokens(of: shards[index]))
      } else {
        try write(shards[index], to: path, &meter)
      }
    }
    try cluster.barrier()
    if cluster.isRoot { try writeManifest(shards, folder) }
    try cluster.barrier()
    let store = try CaptureStore(folder: folder)
    progress.finish("capture", "\(store.tokenCount) tokens in \(shards.count) shards, \(meter.rate)")
    return store
  }

  private var attributes: CaptureAttributes {
    CaptureAttributes(
      hiddenSize: target.shape.hiddenSize, vocabularySize: target.shape.vocabularySize, layers: layers,
      targetFingerprint: target.fingerprint)
  }

  private var products: Products { precision == .bf16 ? .bf16 : .fp32 }

  /// What the states were computed from and how.
  private var dataFingerprint: String { "\(data.tokensFingerprint), captured in \(precision.rawValue)" }

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

  private func write(_ conversations: Range<Int>, to path: String, _ meter: inout Meter) throws {
    let writer = try CaptureShardWriter(path: path, attributes: attributes)
    let batches = BatchPlan.microBatches(Array(conversations), lengths: data.tokens.lengths, tokens: Self.batchTokens)
    for batch in batches {
      let tokens = try batch.map { try data.tokens.conversation($0) }
      try append(tokens, to: writer)
      meter.add(tokens.reduce(0) { $0 + $1.ids.count })
    }
    try clock.measure(.writing) { try writer.finish() }
  }

  private func append(_ conversations: [(ids: [Int32], mask: [UInt8])], to writer: CaptureShardWriter) throws {
    var segments: [Segment] = []
    for conversation in conversations {
      let start = segments.last?.rows.upperBound ?? 0
      segments.append(Segment(rows: start..<start + conversation.ids.count))
    }
    let states = clock.measure(.target) {
      target.forward(conversations.flatMap(\.ids), segments: segments, captureLayers: layers, products)
    }
    // What training sees is the stored bfloat16 state, so the teacher's facts are those of that state.
    let (aux, last) = (states.auxHidden!.bfloat16(), states.lastHidden.bfloat16())
    let facts = clock.measure(.targetHead) {
      FullVocabulary.summarize(last.float32(), head: target.head, products)
    }
    try clock.measure(.writing) {
      for (conversation, segment) in zip(conversations, segments) {
        try writer.append(
          ids: conversation.ids, mask: conversation.mask, auxHidden: aux.slice(segment.rows),
          lastHidden: last.slice(segment.rows), teacherArgmax: Array(facts.argmax[segment.rows]),
          teacherLogSum: Array(facts.logSum[segment.rows]))
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
  private var done = 0
  private var computed = 0
  private let clock = ContinuousClock()
  private let start = ContinuousClock().now

  init(progress: ProgressSink, total: Int) {
    self.progress = progress
    self.total = total
  }

  mutating func skip(_ tokens: Int) {
    done += tokens
    note()
  }

  mutating func add(_ tokens: Int) {
    done += tokens
    computed += tokens
    note()
  }

  var rate: String {
    guard computed > 0 else { return "all of them were there" }
    return String(format: "%.0f tokens/s a rank", Double(computed) / start.duration(to: clock.now).inSeconds)
  }

  private func note() { progress.advance("capture", done: done, total: total, unit: "tokens", note: rate) }
}

extension CaptureConfig {
  /// The layers to capture of this target.
  public func layers(of target: TargetShape) -> [Int] {
    if case .listed(let ids) = layers { return ids }
    return target.defaultCaptureLayers
  }
}
