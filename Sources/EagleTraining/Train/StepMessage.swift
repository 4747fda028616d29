import EagleCluster

/// The small numbers that ranks add up once a step, in one call.
struct StepMessage {
  private(set) var sums: [StepSums]
  /// N_k of the next batch; empty without one.
  private(set) var nextRows: [Double]
  /// Seconds that each rank computed.
  private var busy: [Double]
  private var stops: Double
  private let cluster: any Communicator

  init(_ sums: [StepSums], nextRows: [Int64]?, busy: Double, isToStop: Bool, _ cluster: any Communicator) {
    self.sums = sums
    self.nextRows = (nextRows ?? []).map(Double.init)
    self.busy = (0..<cluster.size).map { $0 == cluster.rank ? busy : 0 }
    stops = isToStop ? 1 : 0
    self.cluster = cluster
  }

  var isToStop: Bool { stops > 0 }

  var imbalance: Double {
    let mean = busy.reduce(0, +) / Double(busy.count)
    return mean > 0 ? busy.max()! / mean - 1 : 0
  }

  /// That of all ranks together. Collective.
  func addedUp() throws -> StepMessage {
    var flat = try cluster.allReduceSum(
      sums.flatMap { [$0.rows, $0.loss, $0.hits, $0.overlap] } + nextRows + busy + [stops])[...]
    var all = self
    all.sums = sums.map { _ in
      StepSums(
        rows: flat.removeFirst(), loss: flat.removeFirst(), hits: flat.removeFirst(), overlap: flat.removeFirst())
    }
    all.nextRows = nextRows.map { _ in flat.removeFirst() }
    all.busy = busy.map { _ in flat.removeFirst() }
    all.stops = flat.removeFirst()
    return all
  }
}
