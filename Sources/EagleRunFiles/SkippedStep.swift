/// The line of a step that was skipped: nothing was learnt from its batch, and the run continued.
package struct SkippedStep: Codable, Sendable, Equatable {
  package let step: Int
  /// The number of the epoch, counted from 1.
  package let epoch: Int
  /// The non-finite quantity, or why nothing was trained.
  package let skipped: String
  /// Ids of the conversations that cause it; empty when none of the batch shows it alone.
  package let conversations: [String]

  package init(step: Int, epoch: Int, skipped: String, conversations: [String]) {
    self.step = step
    self.epoch = epoch
    self.skipped = skipped
    self.conversations = conversations
  }
}
