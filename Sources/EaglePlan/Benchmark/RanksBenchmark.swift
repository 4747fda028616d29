import EagleCluster
import EagleCore
import EagleTensor
import EagleTraining
import Foundation

/// Benchmarks the communication of the ranks: the figures that a prediction of step times needs.
package enum RanksBenchmark {
  package struct Report: Codable, Sendable {
    package var benchmark = "ranks"
    package var ranks: Int
    package var nodes: Int
    package var threads: Int
    /// The MPI library.
    package var library: String
    /// The median latency of a collective call without data on all ranks, in seconds.
    package var latency: Double
    /// The median latency of a number from the shared counter, in seconds, while all ranks take numbers.
    package var ticket: Double
    /// All-reduces of gradients, the largest last.
    package var sums: [Sum]
  }

  package struct Sum: Codable, Sendable {
    /// The elements of the buffer, and their precision in messages.
    package var elements: Int
    package var wire: ComputePrecision
    package var levels: AveragingLevels
    /// The seconds until every rank has the sum: the median of the slowest rank's time.
    package var seconds: Double
    /// The bytes that this rank has sent.
    package var bytesSent: Int
    package var bytesPerSecond: Double

    enum CodingKeys: String, CodingKey {
      case elements, wire, levels, seconds
      case bytesSent = "bytes_sent"
      case bytesPerSecond = "bytes_per_second"
    }
  }

  /// Checks every collective call, then measures with buffers up to `megabytes` in fp32. Collective.
  package static func run(_ cluster: any Communicator, megabytes: Int, repeats: Int) throws -> Report {
    try ClusterCheck.run(cluster)
    let latency = try median(cluster, 20 * repeats) { try cluster.barrier() }
    let next = try cluster.tickets()
    let ticket = try median(cluster, 20 * repeats) { _ = try next() }
    var sums: [Sum] = []
    let ways: [AveragingLevels] = cluster.canAverageInTwoLevels ? [.twoLevel, .flat] : [.flat]
    for levels in ways {
      try cluster.setAveragingLevels(levels)
      for wire in [ComputePrecision.fp32, .bf16] {
        for elements in [1 << 10, 1 << 18, megabytes << 18] {
          sums.append(try sum(cluster, elements: elements, wire, levels, repeats))
        }
      }
    }
    return Report(
      ranks: cluster.size, nodes: Set(cluster.nodes).count, threads: Parallel.threadCount, library: cluster.library,
      latency: latency, ticket: ticket, sums: sums)
  }

  /// An all-reduce in buckets, as for gradients.
  private static func sum(
    _ cluster: any Communicator, elements: Int, _ wire: ComputePrecision, _ levels: AveragingLevels, _ repeats: Int
  ) throws -> Sum {
    let buffer = Tensor.zeros([elements])
    _ = cluster.takeAveragingCost()
    let seconds = try median(cluster, repeats) {
      let buckets = GradientBuckets.cut(0..<elements)
      let pending = try buckets.map {
        try cluster.startAllReduceSum(GradientBuckets.buffer(buffer, $0), wire: wire)
      }
      for sum in pending { try sum.wait() }
    }
    let bytes = cluster.takeAveragingCost().bytesSent / (repeats + 1)
    return Sum(
      elements: elements, wire: wire, levels: levels, seconds: seconds, bytesSent: bytes,
      bytesPerSecond: Double(bytes) / seconds)
  }

  /// The median over the repeats of the slowest rank's time, after a warm-up.
  private static func median(_ cluster: any Communicator, _ repeats: Int, _ body: () throws -> Void) throws -> Double {
    var times: [Double] = []
    for _ in 0...repeats {
      try cluster.barrier()
      times.append(try ContinuousClock().measure(body).inSeconds)
    }
    let all = try cluster.allGather(value: times)
    return (1...repeats).map { repeated in all.map { $0[repeated] }.max()! }.sorted()[repeats / 2]
  }
}

extension RanksBenchmark.Report {
  package func lines() -> [String] {
    let head = "\(Format.count(ranks, "rank")) on \(Format.count(nodes, "node")), \(library)"
    let small = String(format: "latency %.1f µs, a ticket %.1f µs", latency * 1e6, ticket * 1e6)
    return ["every collective call gave the right result", head, small]
      + sums.map { sum in
        String(
          format: "sum of %9d elements in %@: %9.3f ms, %7.1f MB/s sent by this rank%@", sum.elements,
          sum.wire.rawValue,
          sum.seconds * 1e3, sum.bytesPerSecond / 1e6, sum.levels == .flat ? "" : ", two-level")
      }
  }
}
