import EagleDraft
import EagleTensor

/// The conversations of every global batch. Follows from (seed, epoch) and the lengths alone, so that neither the
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

  /// Consecutive elements of at most `limit` tokens together, or one alone.
  ///
  /// - Parameters:
  ///   - all: conversations or parts of them
  ///   - tokens: how many each of them has
  ///   - limit: tokens of a micro-batch, at most
  package static func microBatches<Element>(
    _ all: [Element], tokens: [Int], limit: Int
  ) -> [[Element]] {
    var result: [[Element]] = []
    var sum = limit
    for (element, count) in zip(all, tokens) {
      if sum + count > limit {
        result.append([])
        sum = 0
      }
      result[result.count - 1].append(element)
      sum += count
    }
    return result
  }
}
