import EagleCore
import Foundation

/// The setting of the levels in which ranks add gradients up.
public enum AveragingChoice: String, Codable, CaseIterable, Sendable {
  /// What is faster at the start of a run.
  case auto
  case flat
  case twoLevel = "two-level"

  public init(from decoder: any Decoder) throws { self = try decodeChoice(from: decoder) }

  /// Makes the ranks average as this says. Collective.
  ///
  /// - Returns: a line about the choice where there was one; nil for ranks that can average in one way alone
  /// - Throws: `LocatedError` for two levels that the ranks do not have
  package func apply(to cluster: any Communicator) throws -> String? {
    switch self {
    case .flat: try cluster.average(by: .flat)
    case .twoLevel:
      guard cluster.canAverageInTwoLevels else {
        let counts = Dictionary(grouping: cluster.nodes) { $0 }.sorted { $0.key < $1.key }.map { $0.value.count }
        throw LocatedError(
          path: "cluster.averaging",
          problem: "two levels need several nodes with several ranks each, as many on all; here "
            + "nodes have \(counts.map(String.init).joined(separator: ", ")) ranks",
          advice: "set it to auto")
      }
      try cluster.average(by: .twoLevel)
    case .auto:
      guard cluster.canAverageInTwoLevels else { return nil }
      let flat = try Self.measure(.flat, cluster)
      let two = try Self.measure(.twoLevel, cluster)
      let isTwo = two < flat
      try cluster.average(by: isTwo ? .twoLevel : .flat)
      return String(
        format: "averaging: %@; 16 MiB take %.1f ms flat, %.1f ms in two levels",
        isTwo ? "two-level" : "flat", flat * 1e3, two * 1e3)
    }
    return nil
  }

  /// The median seconds of the slowest rank for a sum of 16 MiB, the same number on all ranks. Collective.
  package static func measure(_ levels: AveragingLevels, _ cluster: any Communicator) throws -> Double {
    try cluster.average(by: levels)
    let buffer = UnsafeMutableBufferPointer<Float>.allocate(capacity: 4 << 20)
    defer { buffer.deallocate() }
    buffer.initialize(repeating: 0)
    var times: [Double] = []
    for _ in 0..<4 {
      try cluster.barrier()
      let start = ContinuousClock.now
      try cluster.startSum(buffer, wire: .fp32, ownSliceOnly: false).wait()
      times.append(start.duration(to: .now).inSeconds)
    }
    let all = try cluster.gather(value: times)
    // The first one makes connections.
    return (1..<4).map { turn in all.map { $0[turn] }.max()! }.sorted()[1]
  }
}
