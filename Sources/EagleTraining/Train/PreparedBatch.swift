import EagleDraft

/// A batch as this rank works on it.
package final class PreparedBatch {
  /// Conversations of all ranks.
  let conversations: [Int]
  /// The parts of each rank.
  let parts: [[ConversationPart]]
  /// The parts of each micro-batch of this rank.
  let microBatches: [[ConversationPart]]
  /// N_k of the global batch.
  let globalRows: [Double]
  /// The first micro-batch with its teacher targets, computed ahead of the step.
  private var first: (any ObjectiveBatch)?

  init(
    _ conversations: [Int], parts: [[ConversationPart]], microBatches: [[ConversationPart]], globalRows: [Double]
  ) {
    self.conversations = conversations
    self.parts = parts
    self.microBatches = microBatches
    self.globalRows = globalRows
  }

  func keep(first batch: any ObjectiveBatch) { first = batch }

  /// The first micro-batch, once: the states of two batches never exist at a time.
  func takeFirst() -> (any ObjectiveBatch)? {
    defer { first = nil }
    return first
  }
}
