import EagleCluster

/// The small numbers that ranks add up once a step, in one call.
package struct StepMessage {
  private(set) var sums: [StepSums]
  /// N_k of the next batch; empty without one.
  private(set) var nextRows: [Double]
  /// Seconds that each rank computed.
  private var busy: [Double]
  private(set) var wishes: Wishes
  private let cluster: any Communicator

  /// What is done behind a step when one rank wants it.
  package struct Wishes {
    var isToStop = false
    var isCheckpointDue = false
  }

  init(_ sums: [StepSums], nextRows: [Int64]?, busy: Double, wishes: Wishes, _ cluster: any Communicator) {
    self.sums = sums
    self.nextRows = (nextRows ?? []).map(Double.init)
    self.busy = (0..<cluster.size).map { $0 == cluster.rank ? busy : 0 }
    self.wishes = wishes
    self.cluster = cluster
  }

  var imbalance: Double {
    let mean = busy.reduce(0, +) / Double(busy.count)
    return mean > 0 ? busy.max()! / mean - 1 : 0
  }

  /// That of all ranks together. Collective.
  func addedUp() throws -> StepMessage {
    var flat = try cluster.allReduceSum(
      sums.flatMap { [$0.rows, $0.loss, $0.hits, $0.overlap] } + nextRows + busy
        + [wishes.isToStop ? 1 : 0, wishes.isCheckpointDue ? 1 : 0])[...]
    var all = self
    all.sums = sums.map { _ in
      StepSums(
        rows: flat.removeFirst(), loss: flat.removeFirst(), hits: flat.removeFirst(), overlap: flat.removeFirst())
    }
    all.nextRows = nextRows.map { _ in flat.removeFirst() }
    all.busy = busy.map { _ in flat.removeFirst() }
    all.wishes = Wishes(isToStop: flat.removeFirst() > 0, isCheckpointDue: flat.removeFirst() > 0)
    return all
  }
}
