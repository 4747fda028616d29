import EagleCore
import Foundation

/// The setting of the levels in which ranks add gradients up.
public enum AveragingChoice: String, Codable, CaseIterable, Sendable {
  /// The faster levels, as measured when the run began on these nodes.
  case auto
  /// One level: all ranks send their parts to each other.
  case flat
  /// Two levels: the ranks of a node first, then one of each node.
  case twoLevel = "two-level"

  public init(from decoder: any Decoder) throws { self = try decodeChoice(from: decoder) }

  /// A choice that a run keeps, so that it has the same bits when it resumes.
  private struct Kept: Codable {
    let levels: AveragingLevels
    /// The smallest rank on the node of each rank.
    let nodes: [Int]
  }

  /// Makes the ranks average as this says. Collective.
  ///
  /// - Parameters:
  ///   - wire: the precision of gradients between ranks
  ///   - earlier: the file of the choice that the run has made before, on rank 0; written where there is none for these
  ///     nodes
  /// - Returns: a line about a choice that was made now; nil for ranks that can average in one way alone
  /// - Throws: `LocatedError` for two levels that the ranks do not have
  package func apply(to cluster: any Communicator, wire: ComputePrecision, earlier path: String) throws -> String? {
    switch self {
    case .flat: try cluster.setAveragingLevels(.flat)
    case .twoLevel:
      guard cluster.canAverageInTwoLevels else {
        let counts = Dictionary(grouping: cluster.nodes) { $0 }.sorted { $0.key < $1.key }.map { "\($0.value.count)" }
        throw LocatedError(
          path: "cluster.averaging",
          problem: "two levels need several nodes with several ranks each, as many on all; here nodes have "
            + "\(counts.joined(separator: ", ")) ranks", advice: "set it to auto")
      }
      try cluster.setAveragingLevels(.twoLevel)
    case .auto:
      guard cluster.canAverageInTwoLevels else { return nil }
      let kept = try cluster.fromRoot { Self.kept(path, nodes: cluster.nodes) }
      guard let kept else { return try choose(cluster, wire, path) }
      try cluster.setAveragingLevels(kept.levels)
    }
    return nil
  }

  private static func kept(_ path: String, nodes: [Int]) -> Kept? {
    let kept = FileManager.default.contents(atPath: path).flatMap { try? JSONDecoder().decode(Kept.self, from: $0) }
    return kept?.nodes == nodes ? kept : nil
  }

  private func choose(_ cluster: any Communicator, _ wire: ComputePrecision, _ path: String) throws -> String {
    let flat = try Self.measure(.flat, wire, cluster)
    let two = try Self.measure(.twoLevel, wire, cluster)
    let levels: AveragingLevels = two < flat ? .twoLevel : .flat
    try cluster.setAveragingLevels(levels)
    if cluster.isRoot {
      try DiskSync.createFolder(URL(fileURLWithPath: path).deletingLastPathComponent().path)
      try AtomicFile.writeJSON(Kept(levels: levels, nodes: cluster.nodes), to: path, style: .indented)
    }
    return String(
      format: "averaging: %@; 64 MiB in %@ take %.1f ms flat, %.1f ms in two levels", levels.rawValue, wire.rawValue,
      flat * 1e3, two * 1e3)
  }

  private static let buckets = 4
  private static let elements = 4 << 20

  /// The median seconds of the slowest rank for the sum of several buckets, the same number on all ranks. Collective.
  private static func measure(
    _ levels: AveragingLevels, _ wire: ComputePrecision, _ cluster: any Communicator
  ) throws -> Double {
    try cluster.setAveragingLevels(levels)
    let buffer = UnsafeMutableBufferPointer<Float>.allocate(capacity: buckets * elements)
    defer { buffer.deallocate() }
    buffer.initialize(repeating: 0)
    var times: [Double] = []
    for _ in 0..<4 {
      try cluster.barrier()
      let start = ContinuousClock.now
      let sums = try (0..<buckets).map { bucket in
        let part = buffer[bucket * elements..<(bucket + 1) * elements]
        return try cluster.startAllReduceSum(UnsafeMutableBufferPointer(rebasing: part), wire: wire)
      }
      for sum in sums { try sum.wait() }
      times.append(start.duration(to: .now).inSeconds)
    }
    let all = try cluster.allGather(value: times)
    // The first measurement includes making connections, and does not count.
    return (1..<4).map { turn in all.map { $0[turn] }.max()! }.sorted()[1]
  }
}
