import EagleDraft

/// A batch as this rank works on it.
package final class PreparedBatch {
  /// Conversations of all ranks.
  let conversations: [Int]
  /// Conversations of each micro-batch of this rank.
  let microBatches: [[Int]]
  /// Trained rows of this rank's conversations, by depth.
  let ownRows: [Int64]
  /// N_k of the global batch; known once the ranks have added theirs up.
  var globalRows: [Double] = []
  /// The first micro-batch with its teacher targets, computed ahead of the step.
  private var first: (any ObjectiveBatch)?

  init(_ conversations: [Int], microBatches: [[Int]], ownRows: [Int64]) {
    self.conversations = conversations
    self.microBatches = microBatches
    self.ownRows = ownRows
  }

  func keep(first batch: any ObjectiveBatch) { first = batch }

  /// The first micro-batch, once: the states of two batches never exist at a time.
  func takeFirst() -> (any ObjectiveBatch)? {
    defer { first = nil }
    return first
  }
}
