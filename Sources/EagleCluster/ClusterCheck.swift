import EagleCore
import Foundation

/// Calls of a communicator whose right answers are known: whether the ranks, their MPI library and the network between
/// them do what training needs.
package enum ClusterCheck {
  /// Makes every collective call and compares the results. Collective.
  ///
  /// - Throws: `ClusterError.wrongResult` naming the call
  package static func run(_ cluster: any Communicator) throws {
    let ranks = cluster.size
    try expect(
      "allReduceSum", cluster.library,
      try cluster.allReduceSum([Int64(cluster.rank), 1]) == [triangle(ranks), Int64(ranks)])
    try expect("allReduceSum", cluster.library, try cluster.allReduceSum([0.5]) == [0.5 * Double(ranks)])
    let last = try cluster.broadcast(data: Data(repeating: UInt8(cluster.rank & 255), count: 9), root: ranks - 1)
    try expect("broadcast", cluster.library, last == Data(repeating: UInt8((ranks - 1) & 255), count: 9))
    let parts = try cluster.allGather(message(from: cluster.rank, to: 0))
    try expect("gather", cluster.library, parts == (0..<ranks).map { message(from: $0, to: 0) })
    let messages = try cluster.allToAll((0..<ranks).map { message(from: cluster.rank, to: $0) })
    try expect("exchange", cluster.library, messages == (0..<ranks).map { message(from: $0, to: cluster.rank) })
    try checkTickets(cluster)
    let ways: [AveragingLevels] = cluster.canAverageInTwoLevels ? [.twoLevel, .flat] : [.flat]
    for levels in ways {
      try cluster.setAveragingLevels(levels)
      for wire in [ComputePrecision.fp32, .bf16] { try checkSums(cluster, wire) }
    }
  }

  private static func triangle(_ n: Int) -> Int64 { Int64(n * (n - 1) / 2) }

  /// A message of another length for each pair of ranks, 0 included, and of more than one bucket for one pair.
  private static func message(from: Int, to: Int) -> Data {
    let length = from == 1 && to == 0 ? (4 << 20) + 3 : 5 * from + to
    return Data((0..<length).map { UInt8(truncatingIfNeeded: from &* 31 &+ to &* 7 &+ $0) })
  }

  /// Every ticket goes to one rank, whichever is first; a second counter starts again.
  private static func checkTickets(_ cluster: any Communicator) throws {
    for total in [3 * cluster.size + 1, 2] {
      let next = try cluster.tickets()
      var tickets: [UInt8] = []
      while true {
        let ticket = try next()
        guard ticket < total else { break }
        tickets.append(UInt8(ticket & 255))
      }
      let taken = try cluster.allGather(Data(tickets)).reduce(into: [UInt8]()) { $0 += $1 }
      try expect("tickets", cluster.library, taken.sorted() == (0..<total).map { UInt8($0 & 255) }.sorted())
    }
  }

  /// Several reductions at once, of lengths that do not divide by the ranks, one shorter than the number of ranks.
  private static func checkSums(_ cluster: any Communicator, _ wire: ComputePrecision) throws {
    let lengths = [1, 1000, 70_001, 3 * cluster.size]
    for ownSliceOnly in [false, true] {
      let buffers = lengths.map { length in
        let buffer = UnsafeMutableBufferPointer<Float>.allocate(capacity: length)
        // Small whole numbers, which bfloat16 holds, too.
        for i in 0..<length { buffer.initializeElement(at: i, to: Float(i % 7 + cluster.rank % 3)) }
        return buffer
      }
      defer { for buffer in buffers { buffer.deallocate() } }
      var pending = try buffers.map {
        try ownSliceOnly
          ? cluster.startReduceScatterSum($0, wire: wire) : cluster.startAllReduceSum($0, wire: wire)
      }
      for sum in pending { try sum.wait() }
      if ownSliceOnly {
        pending = try buffers.map { try cluster.startAllGather($0) }
        for gather in pending { try gather.wait() }
      }
      let ofRanks = (0..<cluster.size).reduce(0) { $0 + $1 % 3 }
      for buffer in buffers {
        let isRight = buffer.indices.allSatisfy { i in
          let sum = Float(i % 7 * cluster.size + ofRanks)
          return abs(buffer[i] - sum) <= (wire == .bf16 ? sum / 256 : 0)
        }
        try expect(
          "\(ownSliceOnly ? "startReduceScatterSum" : "startAllReduceSum") in \(wire.rawValue)", cluster.library,
          isRight)
      }
    }
  }

  private static func expect(_ call: String, _ library: String, _ isRight: Bool) throws {
    guard isRight else { throw ClusterError.wrongResult(call: call, library: library) }
  }
}
