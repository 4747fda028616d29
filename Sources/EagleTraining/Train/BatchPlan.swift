import EagleDraft
import EagleTensor

/// Which conversations make up every global batch. Follows from (seed, epoch) and the lengths alone, so that neither the
/// number of ranks nor a restart changes it.
package struct BatchPlan: Sendable {
  /// Tokens that one rank runs through the draft at a time, conversations that are longer aside.
  package static let microBatchTokens = ObjectiveSettings.Chunking.microBatchTokens

  /// Conversations of each batch, by epoch.
  package let epochs: [[[Int]]]

  /// - Parameters:
  ///   - conversations: those to train on
  ///   - lengths: tokens of every conversation of the store
  ///   - epochs: passes over them
  ///   - tokensPerBatch: a batch is full once it holds them
  ///   - seed: the seed of their order
  package init(conversations: [Int], lengths: [Int], epochs: Int, tokensPerBatch: Int, seed: UInt64) {
    self.epochs = (0..<epochs).map { epoch in
      var random = RandomSource(seed: seed, purpose: "epoch \(epoch)")
      return Self.cut(conversations.shuffled(using: &random), lengths, tokensPerBatch)
    }
  }

  package var totalSteps: Int { epochs.reduce(0) { $0 + $1.count } }

  /// Steps that are done when epoch `epoch` (from 0) ends.
  package func lastStep(ofEpoch epoch: Int) -> Int { epochs.prefix(epoch + 1).reduce(0) { $0 + $1.count } }

  /// A batch is full once it holds the wanted tokens.
  package static func cut(_ order: [Int], _ lengths: [Int], _ tokensPerBatch: Int) -> [[Int]] {
    var batches: [[Int]] = []
    var (batch, tokens) = ([Int](), 0)
    for conversation in order {
      batch.append(conversation)
      tokens += lengths[conversation]
      if tokens >= tokensPerBatch {
        batches.append(batch)
        (batch, tokens) = ([], 0)
      }
    }
    return batch.isEmpty ? batches : batches + [batch]
  }

  /// The partition of a batch among ranks: the longest conversations first, each to the rank with the least so far.
  package static func partition(_ batch: [Int], lengths: [Int], ranks: Int) -> [[Int]] {
    var load = [Int](repeating: 0, count: ranks)
    var owner = [Int](repeating: 0, count: batch.count)  // by index: a batch may hold a conversation twice
    let order = batch.indices.sorted { (lengths[batch[$0]], batch[$1], $1) > (lengths[batch[$1]], batch[$0], $0) }
    for index in order {
      let lightest = load.indices.min { (load[$0], $0) < (load[$1], $1) }!
      load[lightest] += lengths[batch[index]]
      owner[index] = lightest
    }
    return (0..<ranks).map { rank in batch.indices.filter { owner[$0] == rank }.map { batch[$0] } }
  }

  /// Consecutive conversations of at most `tokens` together, or one alone.
  package static func microBatches(_ conversations: [Int], lengths: [Int], tokens limit: Int) -> [[Int]] {
    var result: [[Int]] = []
    var tokens = limit
    for conversation in conversations {
      if tokens + lengths[conversation] > limit {
        result.append([])
        tokens = 0
      }
      result[result.count - 1].append(conversation)
      tokens += lengths[conversation]
    }
    return result
  }
}
