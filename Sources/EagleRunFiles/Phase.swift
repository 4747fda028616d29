/// A part of the work whose time is told apart.
public enum Phase: String, CaseIterable, Sendable, Codable {
  /// Captured states from their shards.
  case reading
  /// The target's distributions at the teacher positions.
  case teacher
  case draftForward = "draft_forward"
  /// LM head, loss and their gradients: one op.
  case headAndLoss = "head_and_loss"
  /// Everything else on the way back.
  case backward
  /// Waiting for, and adding up with, the other ranks.
  case communication
  case optimiser
  /// Copying what a checkpoint holds, and waiting for the one before.
  case checkpoint
  /// The target's layers.
  case target
  /// The target's choice and log-sum-exp over the full vocabulary.
  case targetHead = "target_head"
  /// States to their shards.
  case writing
}
