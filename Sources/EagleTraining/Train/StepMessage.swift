import EagleCluster
import EagleDraft

/// The actions after a step that any rank can request.
package struct StepRequests {
  var isStopRequested = false
  var isCheckpointRequested = false

  package init() {}

  init(isStopRequested: Bool, isCheckpointRequested: Bool) {
    (self.isStopRequested, self.isCheckpointRequested) = (isStopRequested, isCheckpointRequested)
  }
}

/// The small values that ranks reduce once per step, in one call.
struct StepMessage {
  private(set) var sums: [PositionSums]
  /// The seconds that each rank has computed.
  private var busy: [Double]
  private(set) var requests: StepRequests
  private let cluster: any Communicator

  init(_ sums: [PositionSums], busy: Double, requests: StepRequests, _ cluster: any Communicator) {
    self.sums = sums
    self.busy = (0..<cluster.size).map { $0 == cluster.rank ? busy : 0 }
    self.requests = requests
    self.cluster = cluster
  }

  /// How much longer the slowest rank computes than the mean, as a fraction of the mean.
  var imbalance: Double {
    let mean = busy.reduce(0, +) / Double(busy.count)
    return mean > 0 ? busy.max()! / mean - 1 : 0
  }

  /// The sum of the messages of all ranks. Collective.
  func addedUp() throws -> StepMessage {
    var flat = try cluster.allReduceSum(
      sums.flatMap { [$0.rows, $0.loss, $0.hits, $0.overlap] } + busy
        + [requests.isStopRequested ? 1 : 0, requests.isCheckpointRequested ? 1 : 0])[...]
    var all = self
    all.sums = sums.map { _ in
      PositionSums(
        rows: flat.removeFirst(), loss: flat.removeFirst(), hits: flat.removeFirst(), overlap: flat.removeFirst())
    }
    all.busy = busy.map { _ in flat.removeFirst() }
    all.requests = StepRequests(
      isStopRequested: flat.removeFirst() > 0, isCheckpointRequested: flat.removeFirst() > 0)
    return all
  }
}
