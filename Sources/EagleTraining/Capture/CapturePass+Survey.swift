import EagleCaptureStore
import EagleCluster
import EagleCore
import Foundation

// The survey of a folder: the shards that it has, and those that are missing.
extension CapturePass {
  /// The partition into shards, the same on all ranks. It keeps the existing partition of the first rank that finds
  /// one. Collective.
  func partition(_ folder: String) throws -> ShardPartition {
    let own = ShardPartition.earlier(in: folder)
    let has = try cluster.allGather(Data([own.isEmpty ? 0 : 1]))
    var earlier: [ShardPartition.Entry] = []
    if let rank = has.firstIndex(where: { $0.first == 1 }) {
      earlier = try cluster.from(rank) { own }
    }
    return ShardPartition(lengths: data.tokens.lengths, shardTokens: shardTokens, keeping: earlier)
  }

  /// The required fingerprint of each shard; each rank reads a part of the data. Collective.
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
    let all = try cluster.allGather(value: own)
    return shards.indices.map { all[$0 % cluster.size][$0 / cluster.size] }
  }

  /// The result of a survey of all folders.
  struct Found {
    /// Shards of which no rank has valid states.
    var missing: [Int] = []
    /// Shards in this rank's folder that this rank has checked and whose states stay, but whose loss masks must be
    /// replaced.
    var outdated: [Int] = []
    /// Shards whose states are not in this rank's folder, by the checks of all ranks of that folder.
    var notHere: [Int] = []
  }

  /// Checks the state of all shards; ranks that share a disk check a part each. Collective.
  func survey(_ wanted: [ConversationsFingerprint], _ folder: String) throws -> Found {
    let manifest = try? CaptureManifest(folder: folder)
    if let manifest { try check(manifest, folder) }
    let survey = ShardSurvey(
      attributes: attributes, oldPrecision: manifest?.requestedPrecision,
      requestedPrecision: states.target.precision.rawValue)
    let lookers = (0..<cluster.size).filter { sharing == .shared || cluster.nodes[$0] == cluster.nodes[cluster.rank] }
    let ownIndex = lookers.firstIndex(of: cluster.rank)!
    // Files whose names are not in the list are not opened, because network file systems cache the absence of a file
    // for a while.
    let names = Set(try FileManager.default.contentsOfDirectory(atPath: folder))
    var own = [UInt8](repeating: ShardState.missing.rawValue, count: wanted.count)
    for index in wanted.indices where index % lookers.count == ownIndex && !stop.isMade {
      cluster.tick()
      guard names.contains(CaptureManifest.shardName(index)) else { continue }
      own[index] = try survey.look(at: path(index, folder), for: wanted[index], progress.say).rawValue
    }
    try stop.throwIfAnyRankStops(cluster, during: "capture")
    // The best state of a shard that any of these ranks has found.
    let all = try cluster.allGather(Data(own)).map { [UInt8]($0) }
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

  /// Starts to change the folder: replaces loss masks, removes the manifest until the store is complete, and removes a
  /// node's shards with other content. Collective.
  func beginChanges(
    _ partition: ShardPartition, _ found: Found, _ fingerprints: [ConversationsFingerprint], _ folder: String
  ) throws {
    try cluster.barrier()  // all ranks have finished the survey
    if cluster.isFirstOfNode { CaptureManifest.removeUnfinishedShards(in: folder) }
    if writesFolder {
      try partition.write(to: folder, lengths: data.tokens.lengths)
      // The manifest would be wrong for the shards that are changed below. A manifest of version 1 stays until they are
      // changed, since only it records the precision of such shards.
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
