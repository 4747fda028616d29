import EagleCluster
import EagleCore
import EagleDraft
import EagleModels
import EagleTensor

extension DraftModel {
  /// `random` with weights fitted to some of the conversations, on rank 0, which the others help; nil there.
  /// Collective.
  ///
  /// - Parameters:
  ///   - random: the start whose other weights stay; on rank 0
  ///   - target: the model whose states are fitted
  ///   - states: where they are
  ///   - conversations: those to fit to, as many as are needed of them
  ///   - seed: the seed of the sample
  ///   - cluster: the ranks
  ///   - stop: looked at between conversations
  ///   - leftOut: called with each conversation whose values are not finite
  /// - Throws: when states cannot be read, or no row is there to be fitted; `StoppedRun` when a stop was requested
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
        // Conversations are gone through twice.
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
