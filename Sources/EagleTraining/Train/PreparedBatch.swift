import EagleDraft

/// A batch with its partition among the ranks.
package final class PreparedBatch {
  /// The conversations of all ranks.
  let conversations: [Int]
  /// The parts of each rank.
  let parts: [[ConversationPart]]
  /// The parts of each micro-batch of this rank.
  let microBatches: [[ConversationPart]]
  /// N_k of the global batch.
  let globalRows: [Double]
  /// The first micro-batch with its teacher targets, computed before the step.
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

  /// Removes and returns the first micro-batch, so that its states are in memory only while it is computed.
  func takeFirst() -> (any ObjectiveBatch)? {
    defer { first = nil }
    return first
  }
}
