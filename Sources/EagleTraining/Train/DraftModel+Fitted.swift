import EagleCluster
import EagleCore
import EagleDraft
import EagleModels
import EagleTensor

extension DraftModel {
  /// `random` with weights fitted to some of the conversations, on rank 0; nil on the other ranks, which send data.
  /// Collective.
  ///
  /// - Parameters:
  ///   - random: the start whose other weights are kept; on rank 0
  ///   - target: the model whose states are fitted
  ///   - states: the source of the states
  ///   - conversations: the conversations to sample from
  ///   - seed: the seed of the sample
  ///   - cluster: the ranks
  ///   - stop: checked between conversations
  ///   - leftOut: called with each conversation whose values are not finite
  /// - Throws: when states cannot be read, or there is no row to fit; `StoppedRun` when a stop was requested
  package static func fitted(
    _ random: DraftModel?, target: TargetModel, states: StateSource, conversations: [Int], seed: UInt64,
    cluster: any Communicator, stop: StopRequest = StopRequest(), leftOut: @escaping (Int) -> Void = { _ in }
  ) throws -> DraftModel? {
    let sample = StateSample(
      conversations, leftOut: [], seed: seed, feed: try ConversationFeed(states, cluster: cluster), cluster: cluster,
      stop: stop)
    var named: Set<Int> = []
    return try sample.onRoot {
      guard let random else { preconditionFailure("rank 0 has no start to fit") }
      let fitted = try random.network.fitted(random, target: target) {
        // The fit reads the conversations twice.
        if named.insert($0).inserted { leftOut($0) }
      } conversations: { take in
        try sample.visit(take)
      }
      guard let fitted else {
        throw LocatedError(
          path: "draft.start", problem: "the states cannot be fitted", advice: "set it to random, or look at the data")
      }
      return fitted
    }
  }
}
