import EagleCaptureStore
import EagleCluster
import EagleCore
import EagleData
import EagleDraft
import EagleModels
import EagleStorage
import Foundation

/// Runs the frozen target over the prepared conversations and writes its states to the capture store.
///
/// Conversations are stored in shards in their order; each rank takes the next missing shard when it has finished one.
/// An existing shard with the right tokens is kept, and its loss masks are replaced if they have changed. A shard of
/// other tokens is captured again. A second run therefore finds everything done, and a restart after an interruption
/// captures only the missing shards.
package struct CapturePass {
  /// The maximum number of tokens of one pass of the target, except for a longer conversation.
  package static let batchTokens = 2048

  let states: StateCapture
  let data: PreparedData
  let shardTokens: Int
  let sharing: CaptureSharing
  let cluster: any Communicator
  let progress: ProgressSink
  let stop: StopRequest
  private let clock: PhaseClock

  package init(
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

  /// Captures the missing shards on all ranks. Collective.
  ///
  /// - Throws: when the folder holds a store of another target, other layers or another precision, or ranks compute
  ///   different precisions; `StoppedRun` when a stop was requested, with the finished shards in place
  package func run(folder: String) throws -> CaptureStore {
    try states.agreeOnPrecision(cluster)
    // Only one rank of each disk checks, so that ranks cannot disagree if a network disk shows them different states.
    let complete = writesFolder ? try complete(folder) : nil
    if try isWhole(complete) {
      let store = try complete ?? opened(folder)
      progress.finish(
        "capture", "up to date: \(store.tokenCount) tokens in \(Format.count(store.manifest.shards.count, "shard"))")
      return store
    }
    try DiskSync.createFolder(folder)
    let partition = try partition(folder)
    let fingerprints = try fingerprints(partition.shards, folder)
    let found = try survey(fingerprints, folder)
    try beginChanges(partition, found, fingerprints, folder)
    let rate = try captureMissing(partition.shards, found.missing, folder)
    try stop.throwIfAnyRankStops(cluster, during: "capture")
    if writesFolder { try finish(partition, fingerprints, folder) }
    try cluster.barrier()
    let store = try opened(folder)
    progress.finish(
      "capture", "\(data.tokens.tokenCount) tokens in \(Format.count(partition.shards.count, "shard")), \(rate)")
    return store
  }

  /// Whether all folders have the same complete partition, and together contain every shard. Collective.
  private func isWhole(_ found: CaptureStore?) throws -> Bool {
    guard try !cluster.anyTrue(writesFolder && found == nil) else { return false }
    guard sharing == .node else { return true }
    // A node that was not in an earlier run may have shards of another partition.
    let cuts = found?.manifest.shards.map { "\($0.file) \($0.conversations) \($0.tokensFingerprint ?? "")" } ?? []
    let digest = Data(FileDigest.sha256(Data(cuts.joined(separator: "\n").utf8)).utf8)
    let digests = Set(try cluster.allGather(found == nil ? Data() : digest).filter { !$0.isEmpty })
    guard digests.count == 1, try !cluster.anyTrue(found != nil && cuts.isEmpty) else { return false }
    let all = try cluster.allGather(Data((found?.holds ?? []).map { $0 ? 1 : 0 })).filter { !$0.isEmpty }.map {
      [UInt8]($0)
    }
    return all[0].indices.allSatisfy { shard in all.contains { $0[shard] == 1 } }
  }

  /// Opens a store that is known to be complete.
  private func opened(_ folder: String) throws -> CaptureStore {
    try CaptureStore(
      folder: folder, lengths: data.tokens.lengths, presence: sharing == .node ? .partial : .known)
  }

  /// Whether this rank writes the files that exist once per folder: one rank for each disk.
  var writesFolder: Bool { sharing == .shared ? cluster.isRoot : cluster.isFirstOfNode }

  var attributes: CaptureAttributes { states.attributes }

  func path(_ shard: Int, _ folder: String) -> String { "\(folder)/\(CaptureManifest.shardName(shard))" }

  /// The complete store of this target and data, or a node's part of it; nil if there is none. A store with a missing
  /// or truncated shard is incomplete.
  private func complete(_ folder: String) throws -> CaptureStore? {
    guard FileManager.default.fileExists(atPath: CaptureManifest.path(in: folder)) else { return nil }
    let manifest = try CaptureManifest(folder: folder)
    try check(manifest, folder)
    guard manifest.dataFingerprint == data.tokensFingerprint else { return nil }
    do {
      return try CaptureStore(
        folder: folder, lengths: data.tokens.lengths, presence: sharing == .node ? .partial : .whole)
    } catch {
      progress.say("\(error); capturing what is missing")
      return nil
    }
  }

  /// Throws if the folder contains a store of another target, other layers or another precision, so that it is not
  /// overwritten.
  func check(_ manifest: CaptureManifest, _ folder: String) throws {
    try manifest.attributes.check(against: attributes, path: folder)
  }

  /// Captures the missing shards of this rank. Returns the rate as readable text.
  private func captureMissing(_ shards: [Range<Int>], _ missing: [Int], _ folder: String) throws -> String {
    var meter = CaptureMeter(progress: progress, total: data.tokens.tokenCount, ranks: cluster.size)
    // The number of captured tokens before each missing shard, once all missing shards before it are done.
    var done = [data.tokens.tokenCount - missing.reduce(0) { $0 + tokens(of: shards[$1]) }]
    for shard in missing { done.append(done[done.count - 1] + tokens(of: shards[shard])) }
    let next = try cluster.tickets()
    while !stop.isMade {
      let ticket = try next()
      guard ticket < missing.count else { break }
      // Shards with smaller tickets are done, except at most one for each other rank.
      meter.begin(within: done[max(0, ticket + 1 - cluster.size)]...done[ticket])
      try write(shards[missing[ticket]], to: path(missing[ticket], folder), &meter)
    }
    // A rank that is asked to stop takes all remaining tickets, so that the other ranks stop after their current shard.
    if stop.isMade { while try next() < missing.count {} }
    return meter.rate
  }

  private func tokens(of shard: Range<Int>) -> Int { data.tokens.lengths[shard].reduce(0, +) }

  /// Writes one shard. Leaves no file if a stop is requested meanwhile.
  private func write(_ conversations: Range<Int>, to path: String, _ meter: inout CaptureMeter) throws {
    let writer = try CaptureShardWriter(path: path, attributes: attributes, rows: tokens(of: conversations))
    let batches = BatchPlan.microBatches(
      Array(conversations), tokens: Array(data.tokens.lengths[conversations]), limit: Self.batchTokens)
    for batch in batches {
      if stop.isMade { return }
      let tokens = try batch.map { try data.tokens.conversation($0) }
      try append(tokens, to: writer)
      meter.add(tokens.reduce(0) { $0 + $1.ids.count })
    }
    try clock.measure(.writing) { try writer.finish() }
  }

  private func append(_ conversations: [(ids: [Int32], mask: [UInt8])], to writer: CaptureShardWriter) throws {
    let rows = clock.measure(.target) { states.run(conversations.map(\.ids), eachLayer: cluster.tick) }
    // Training reads the stored (rounded) states, so argmax and log-sum-exp are computed from these.
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

  /// Writes the manifest, and removes shards of an earlier partition of the data.
  private func finish(
    _ partition: ShardPartition, _ fingerprints: [ConversationsFingerprint], _ folder: String
  ) throws {
    let entries = partition.shards.enumerated().map { index, shard in
      CaptureManifest.Shard(
        file: CaptureManifest.shardName(index), rows: tokens(of: shard), conversations: shard.count,
        fingerprint: fingerprints[index], bytes: Disk.size(of: path(index, folder)))
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
