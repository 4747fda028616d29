/// A part of the work whose time is measured by itself.
package enum Phase: String, CaseIterable, Sendable, Codable {
  /// Reading captured states from their shards.
  case reading
  /// Computing the target's distributions at the teacher positions.
  case teacher
  case draftForward = "draft_forward"
  /// LM head, loss and their gradients: one op.
  case headAndLoss = "head_and_loss"
  /// The backward pass without LM head and loss.
  case backward
  /// Reductions over the ranks, and waiting for them.
  case communication
  case optimiser
  /// Copying the content of a checkpoint, and waiting for the checkpoint before.
  case checkpoint
  /// The target's layers.
  case target
  /// The target's argmax and log-sum-exp over the full vocabulary.
  case targetHead = "target_head"
  /// Writing states to their shards.
  case writing
}
