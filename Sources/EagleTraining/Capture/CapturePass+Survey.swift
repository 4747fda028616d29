import EagleCaptureStore
import EagleCluster
import EagleCore
import Foundation

// What a folder has of a store, and what is missing.
extension CapturePass {
  /// The same on all ranks, from the first rank that finds how its shards were cut. Collective.
  func partition(_ folder: String) throws -> ShardPartition {
    let own = ShardPartition.earlier(in: folder)
    let has = try cluster.gather(Data([own.isEmpty ? 0 : 1]))
    var earlier: [ShardPartition.Entry] = []
    if let rank = has.firstIndex(where: { $0.first == 1 }) {
      earlier = try cluster.from(rank) { own }
    }
    return ShardPartition(lengths: data.tokens.lengths, shardTokens: shardTokens, keeping: earlier)
  }

  /// The fingerprint of each shard as it has to be; each rank reads a part of the data. Collective.
  func fingerprints(_ shards: [Range<Int>], _ folder: String) throws -> [ConversationsFingerprint] {
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
    let all = try cluster.gather(value: own)
    return shards.indices.map { all[$0 % cluster.size][$0 / cluster.size] }
  }

  /// The result of a look at all folders.
  struct Found {
    /// Shards that no rank sees whole.
    var missing: [Int] = []
    /// Shards of this rank's folder that this rank looked at, and whose states can stay.
    var outdated: [Int] = []
    /// Shards whose states this rank's folder does not have, whichever rank has looked.
    var notHere: [Int] = []
  }

  /// The state of all shards; ranks that share a disk look at a part each. Collective.
  func survey(_ wanted: [ConversationsFingerprint], _ folder: String) throws -> Found {
    let manifest = try? CaptureManifest(folder: folder)
    if let manifest { try check(manifest, folder) }
    let survey = ShardSurvey(
      attributes: attributes, oldPrecision: manifest?.requestedPrecision,
      requestedPrecision: states.target.precision.rawValue)
    let lookers = (0..<cluster.size).filter { sharing == .shared || cluster.nodes[$0] == cluster.nodes[cluster.rank] }
    let ownIndex = lookers.firstIndex(of: cluster.rank)!
    // Names that are not in the list are not opened: network file systems remember for a while that a file was not
    // there.
    let names = Set(try FileManager.default.contentsOfDirectory(atPath: folder))
    var own = [UInt8](repeating: ShardState.missing.rawValue, count: wanted.count)
    for index in wanted.indices where index % lookers.count == ownIndex && !stop.isMade {
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
      progress.say("captured again, for other conversations: \(stale) of \(Format.count(wanted.count, "shard"))")
    }
    return Found(
      missing: wanted.indices.filter { anywhere[$0] < .outdated },
      outdated: wanted.indices.filter { own[$0] == ShardState.outdated.rawValue },
      notHere: wanted.indices.filter { best($0, lookers) < .outdated })
  }

  /// Changes of the folder begin here: loss masks are replaced, the manifest goes until all is there, and a node gives
  /// up shards that hold something else. Collective.
  func beginChanges(
    _ partition: ShardPartition, _ found: Found, _ fingerprints: [ConversationsFingerprint], _ folder: String
  ) throws {
    try cluster.barrier()  // all have looked
    if writesFolder {
      try partition.write(to: folder, lengths: data.tokens.lengths)
      // It would vouch for shards that are changed below. One of version 1 stays until then: it says the precision of
      // shards that are not brought up to date yet.
      if (try? CaptureManifest(folder: folder))?.attributes.precision != nil {
        try removeIfThere(CaptureManifest.path(in: folder))
      }
    }
    try cluster.barrier()
    for index in found.outdated where !stop.isMade {
      let masks = try partition.shards[index].flatMap { try data.tokens.conversation($0).mask }
      try CaptureShardMasks.replace(
        path: path(index, folder), masks: masks, fingerprint: fingerprints[index], precision: states.precision)
      cluster.tick()
    }
    let count = try cluster.allReduceSum([Int64(found.outdated.count)])[0]
    try stop.throwIfAnyRankStops(cluster, during: "capture")
    if count > 0 { progress.say("new loss masks in \(Format.count(Int(count), "shard")); their states stay") }
    guard writesFolder else { return }
    try removeIfThere(CaptureManifest.path(in: folder))
    for index in found.notHere where sharing == .node { try removeIfThere(path(index, folder)) }
  }

  func removeIfThere(_ path: String) throws {
    if FileManager.default.fileExists(atPath: path) { try FileManager.default.removeItem(atPath: path) }
  }
}
