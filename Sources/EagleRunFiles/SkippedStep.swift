/// The line of a step that was left out: nothing was learnt from its batch, and the rest of the run goes on.
public struct SkippedStep: Codable, Sendable, Equatable {
  public let step: Int
  /// From 1.
  public let epoch: Int
  /// What was not finite, or why nothing was trained.
  public let skipped: String
  /// Ids of the conversations that it comes from; empty when none of the batch shows it alone.
  public let conversations: [String]

  package init(step: Int, epoch: Int, skipped: String, conversations: [String]) {
    self.step = step
    self.epoch = epoch
    self.skipped = skipped
    self.conversations = conversations
  }
}
