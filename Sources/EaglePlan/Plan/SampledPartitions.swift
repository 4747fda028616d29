import EagleCore
import EagleDraft
import EagleTensor
import EagleTraining

/// Batches of the data's own conversations, partitioned among ranks as in training.
package struct SampledPartitions: Sendable {
  private let items: [BatchPartition.Item]
  /// The cumulative sum of how often an epoch trains each conversation.
  private let weights: [Double]
  private let depths: Int
  /// The operations that the target adds to a step; nil if states are stored.
  package var online: OnlineOperations?

  /// The approximate number of tokens of all sampled batches; at least one batch is sampled.
  private static let tokens = 1 << 18
  private static let mostBatches = 24

  fileprivate init(_ items: [BatchPartition.Item], weights: [Double], depths: Int) {
    self.items = items
    self.weights = weights.reduce(into: []) { $0.append(($0.last ?? 0) + $1) }
    self.depths = depths
  }

  /// The cost of the slowest rank's share divided by an N-th of the whole batch, as a mean over some batches: 1 is
  /// optimal.
  ///
  /// - Parameters:
  ///   - ranks: N
  ///   - tokens: the tokens of a batch
  package func slowest(ranks: Int, tokens: Int) -> Double {
    guard ranks > 1, let total = weights.last, total > 0 else { return 1 }
    var random = RandomSource(seed: 0, purpose: "batches of \(tokens)")
    let count = max(1, min(Self.mostBatches, Self.tokens / max(1, tokens)))
    return (0..<count).reduce(0.0) { sum, _ in
      var (batch, length) = ([BatchPartition.Item](), 0)
      while length < tokens {
        let at = Double.random(in: 0..<total, using: &random)
        var item = items[min(items.count - 1, weights.partitioningIndex { $0 > at })]
        online?.add(to: &item.work)
        batch.append(item)
        length += item.length
      }
      return sum + BatchPartition(batch, ranks: ranks, depths: depths).slowest
    } / Double(count)
  }
}

extension DataSample {
  /// The partitions of batches of these conversations.
  package func partitions(_ costs: any ObjectiveCosts) -> SampledPartitions {
    SampledPartitions(
      conversations.indices.map {
        .init($0, costs.work(mask: conversations[$0].mask, samples: true), length: conversations[$0].ids.count)
      }, weights: conversations.map(\.trained), depths: costs.positions)
  }
}
