import EagleDraft
import EagleTensor

/// The conversations of every global batch. The plan depends only on (seed, epoch) and the lengths, so that neither the
/// number of ranks nor a restart changes it.
package struct BatchPlan: Sendable {
  /// The maximum number of tokens of a micro-batch of one rank, except for a longer conversation.
  package static let microBatchTokens = ObjectiveSettings.Chunking.microBatchTokens

  /// The conversations of each batch, by epoch.
  package let epochs: [[[Int]]]

  /// - Parameters:
  ///   - conversations: the conversations to train on
  ///   - lengths: the number of tokens of every conversation of the store
  ///   - epochs: the number of passes over them
  ///   - tokensPerBatch: a batch is full once it has this many tokens
  ///   - seed: the seed of their order
  package init(conversations: [Int], lengths: [Int], epochs: Int, tokensPerBatch: Int, seed: UInt64) {
    self.epochs = (0..<epochs).map { epoch in
      var random = RandomSource(seed: seed, purpose: "epoch \(epoch)")
      return Self.cut(conversations.shuffled(using: &random), lengths, tokensPerBatch)
    }
  }

  package var totalSteps: Int { epochs.reduce(0) { $0 + $1.count } }

  /// The number of steps up to the end of epoch `epoch` (from 0).
  package func lastStep(ofEpoch epoch: Int) -> Int { epochs.prefix(epoch + 1).reduce(0) { $0 + $1.count } }

  /// Cuts the order into batches; a batch is full once it has `tokensPerBatch` tokens.
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

  /// Groups consecutive elements of at most `limit` tokens in total; a longer element is a group of its own.
  ///
  /// - Parameters:
  ///   - all: conversations or parts of them
  ///   - tokens: the number of tokens of each
  ///   - limit: the maximum number of tokens of a micro-batch
  package static func microBatches<Element>(
    _ all: [Element], tokens: [Int], limit: Int
  ) -> [[Element]] {
    var result: [[Element]] = []
    var sum = 0
    for (element, count) in zip(all, tokens) {
      if result.isEmpty || sum + count > limit {
        result.append([])
        sum = 0
      }
      result[result.count - 1].append(element)
      sum += count
    }
    return result
  }
}
