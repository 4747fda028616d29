import EagleCaptureStore
import EagleCluster
import EagleCore
import EagleData
import EagleModels
import Foundation

/// Runs the frozen target over the prepared conversations and writes its states to the capture store.
///
/// Conversations go to shards in their order; each rank takes the next missing shard when it is done with one. A shard
/// that is there and holds these tokens is kept, under new loss masks where they have changed; one of other tokens is
/// captured again. So a second run finds everything done, and an interrupted one captures what is missing.
public struct CapturePass {
  /// Tokens that run through the target at a time.
  package static let batchTokens = 2048

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
    self.init(
      states: try StateCapture(target: target, config: config), data: data, config: config, cluster: cluster,
      progress: progress, stop: stop, clock: clock)
  }

  package init(
    states: StateCapture, data: PreparedData, config: CaptureConfig, cluster: any Communicator,
    progress: ProgressSink, stop: StopRequest = StopRequest(), clock: PhaseClock = PhaseClock()
  ) {
    self.states = states
    self.data = data
    (shardTokens, sharing) = (config.shardTokens, config.store)
    self.cluster = cluster
    self.progress = progress
    self.stop = stop
    self.clock = clock
  }

  /// Writes what is missing, on all ranks.
  ///
  /// - Throws: when the folder holds a store of another target, other layers or another precision, or ranks compute
  ///   different precisions; `StoppedRun` when a stop was asked for, with the finished shards in place
  public func run(folder: String) throws -> CaptureStore {
    try states.agreeOnPrecision(cluster)
    // One rank looks, so that a disk that shows ranks different states cannot part them.
    let complete = sharing == .shared && cluster.isRoot ? try complete(folder) : nil
    if try cluster.anyTrue(complete != nil) {
      let store = try complete ?? CaptureStore(folder: folder, each: cluster.tick)
      progress.finish("capture", "up to date: \(store.tokenCount) tokens in \(store.manifest.shards.count) shards")
      return store
    }
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let partition = try partition(folder)
    let fingerprints = try fingerprints(partition.shards, folder)
    let found = try survey(fingerprints, folder)
    try beginChanges(partition, found, fingerprints, folder)
    let rate = try captureMissing(partition.shards, found.missing, folder)
    try stop.throwIfAnyRankStops(cluster, during: "capture")
    if writesFolder { try finish(partition, fingerprints, folder) }
    try cluster.barrier()
    let store = try CaptureStore(
      folder: folder, lengths: sharing == .node ? data.tokens.lengths : nil, each: cluster.tick)
    progress.finish("capture", "\(data.tokens.tokenCount) tokens in \(partition.shards.count) shards, \(rate)")
    return store
  }

  /// Whether this rank writes what a folder has once: one rank for each disk.
  private var writesFolder: Bool { sharing == .shared ? cluster.isRoot : cluster.isFirstOfNode }

  private var attributes: CaptureAttributes { states.attributes }

  private func path(_ shard: Int, _ folder: String) -> String { "\(folder)/\(CaptureManifest.shardName(shard))" }

  /// The store of this target and data; nil when there is none. One with a missing or damaged shard counts as
  /// unfinished.
  private func complete(_ folder: String) throws -> CaptureStore? {
    guard FileManager.default.fileExists(atPath: CaptureManifest.path(in: folder)) else { return nil }
    let manifest = try CaptureManifest(folder: folder)
    try check(manifest, folder)
    guard manifest.dataFingerprint == data.tokensFingerprint else { return nil }
    do {
      return try CaptureStore(folder: folder, each: cluster.tick)
    } catch {
      progress.say("\(error); capturing what is missing")
      return nil
    }
  }

  /// Throws when a store of something else lies in the folder: what took days is not written over.
  private func check(_ manifest: CaptureManifest, _ folder: String) throws {
    try manifest.attributes.check(against: attributes, path: folder)
  }

  // MARK: what there is to do

  /// The same on all ranks, from the first rank that finds how its shards were cut. Collective.
  private func partition(_ folder: String) throws -> ShardPartition {
    let own = ShardPartition.earlier(in: folder)
    let has = try cluster.gather(Data([own.isEmpty ? 0 : 1]))
    var earlier: [ShardPartition.Entry] = []
    if let rank = has.firstIndex(where: { $0.first == 1 }) {
      let shared = try cluster.broadcast(
        data: rank == cluster.rank ? try JSONEncoder().encode(own) : Data(), root: rank)
      earlier = try JSONDecoder().decode([ShardPartition.Entry].self, from: shared)
    }
    return ShardPartition(lengths: data.tokens.lengths, shardTokens: shardTokens, keeping: earlier)
  }

  /// What belongs into each shard; the ranks share the reading. Collective.
  private func fingerprints(_ shards: [Range<Int>], _ folder: String) throws -> [ConversationsFingerprint] {
    var own: [ConversationsFingerprint] = []
    for index in shards.indices where index % cluster.size == cluster.rank && !stop.isMade {
      var hasher = ConversationsHasher()
      for conversation in shards[index] {
        let tokens = try data.tokens.conversation(conversation)
        hasher.add(ids: tokens.ids, mask: tokens.mask)
      }
      own.append(hasher.finish())
      cluster.tick()
    }
    try stop.throwIfAnyRankStops(cluster, during: "capture")
    let all = try cluster.gather(try JSONEncoder().encode(own)).map {
      try JSONDecoder().decode([ConversationsFingerprint].self, from: $0)
    }
    return shards.indices.map { all[$0 % cluster.size][$0 / cluster.size] }
  }

  /// What a look at all folders has found.
  private struct Found {
    /// Shards that no rank sees whole.
    var missing: [Int] = []
    /// Shards of this rank's folder that this rank looked at, and whose states can stay.
    var outdated: [Int] = []
    /// Shards whose states this rank's folder does not have, whichever rank has looked.
    var notHere: [Int] = []
  }

  /// The ranks that share a disk share the looking. Collective.
  private func survey(_ wanted: [ConversationsFingerprint], _ folder: String) throws -> Found {
    let manifest = try? CaptureManifest(folder: folder)
    if let manifest { try check(manifest, folder) }
    let survey = ShardSurvey(
      attributes: attributes, oldPrecision: manifest?.requestedPrecision,
      requestedPrecision: states.target.precision.rawValue)
    let lookers = (0..<cluster.size).filter { sharing == .shared || cluster.nodes[$0] == cluster.nodes[cluster.rank] }
    let mine = lookers.firstIndex(of: cluster.rank)!
    // Names that are not in the list are not asked for: network file systems remember for a while that a file was not
    // there.
    let names = Set(try FileManager.default.contentsOfDirectory(atPath: folder))
    var own = [UInt8](repeating: ShardState.missing.rawValue, count: wanted.count)
    for index in wanted.indices where index % lookers.count == mine && !stop.isMade {
      cluster.tick()
      guard names.contains(CaptureManifest.shardName(index)) else { continue }
      own[index] = try survey.look(at: path(index, folder), for: wanted[index], progress.say).rawValue
    }
    try stop.throwIfAnyRankStops(cluster, during: "capture")
    // The best that one of some ranks has found of a shard.
    let all = try cluster.gather(Data(own)).map { [UInt8]($0) }
    func best(_ shard: Int, _ ranks: some Sequence<Int>) -> ShardState {
      ranks.lazy.compactMap { ShardState(rawValue: all[$0][shard]) }.max() ?? .missing
    }
    let anywhere = wanted.indices.map { best($0, 0..<cluster.size) }
    let stale = anywhere.count { $0 == .stale }
    if stale > 0 {
      progress.say("\(stale) of \(wanted.count) shards hold other conversations and are captured again")
    }
    return Found(
      missing: wanted.indices.filter { anywhere[$0] < .outdated },
      outdated: wanted.indices.filter { own[$0] == ShardState.outdated.rawValue },
      notHere: wanted.indices.filter { best($0, lookers) < .outdated })
  }

  /// Changes of the folder begin here: loss masks are replaced, the manifest goes until all is there, and a node gives
  /// up shards that hold something else. Collective.
  private func beginChanges(
    _ partition: ShardPartition, _ found: Found, _ fingerprints: [ConversationsFingerprint], _ folder: String
  ) throws {
    try cluster.barrier()  // all have looked
    if writesFolder { try partition.write(to: folder, lengths: data.tokens.lengths) }
    for index in found.outdated where !stop.isMade {
      let masks = try partition.shards[index].flatMap { try data.tokens.conversation($0).mask }
      try CaptureShardMasks.replace(
        path: path(index, folder), masks: masks, fingerprint: fingerprints[index], precision: states.precision)
      cluster.tick()
    }
    let count = try cluster.allReduceSum([Int64(found.outdated.count)])[0]
    try stop.throwIfAnyRankStops(cluster, during: "capture")
    if count > 0 { progress.say("\(count) shards got their loss masks anew; their states stay") }
    // Only now: a manifest of version 1 is what says the precision of shards that are not brought up to date yet.
    guard writesFolder else { return }
    try removeIfThere(CaptureManifest.path(in: folder))
    for index in found.notHere where sharing == .node { try removeIfThere(path(index, folder)) }
  }

  private func removeIfThere(_ path: String) throws {
    if FileManager.default.fileExists(atPath: path) { try FileManager.default.removeItem(atPath: path) }
  }

  // MARK: capture

  /// Returns the rate, for people to read.
  private func captureMissing(_ shards: [Range<Int>], _ missing: [Int], _ folder: String) throws -> String {
    var meter = Meter(progress: progress, total: data.tokens.tokenCount, ranks: cluster.size)
    let next = try cluster.tickets()
    while !stop.isMade {
      let ticket = try next()
      guard ticket < missing.count else { break }
      // Shards with smaller tickets are done, or under way on other ranks.
      meter.begin(at: data.tokens.tokenCount - missing[ticket...].reduce(0) { $0 + tokens(of: shards[$1]) })
      try write(shards[missing[ticket]], to: path(missing[ticket], folder), &meter)
    }
    // A rank that is asked to stop leaves no ticket to the others, so that they stop behind the shard at hand.
    if stop.isMade { while try next() < missing.count {} }
    return meter.rate
  }

  private func tokens(of shard: Range<Int>) -> Int { data.tokens.lengths[shard].reduce(0, +) }

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

  /// Writes the manifest, and removes shards that an earlier partition of the data has left behind.
  private func finish(
    _ partition: ShardPartition, _ fingerprints: [ConversationsFingerprint], _ folder: String
  ) throws {
    let entries = partition.shards.enumerated().map { index, shard in
      CaptureManifest.Shard(
        file: CaptureManifest.shardName(index), rows: tokens(of: shard), conversations: shard.count,
        fingerprint: fingerprints[index])
    }
    let wanted = Set(entries.map(\.file))
    for name in try FileManager.default.contentsOfDirectory(atPath: folder)
    where CaptureManifest.isShardName(name) && !wanted.contains(name) {
      try removeIfThere("\(folder)/\(name)")
    }
    try CaptureManifest(attributes: attributes, dataFingerprint: data.tokensFingerprint, shards: entries)
      .write(to: folder)
    ShardPartition.remove(from: folder)
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
