import EagleDraft
import EagleRunFiles

/// The result of an optimiser step of all ranks.
package struct StepResult {
  package enum Outcome {
    /// The weights have changed.
    case updated(StepUpdate)
    /// The step was skipped: weights and moments are those from before it.
    case nonFinite(NonFiniteQuantity, PreparedBatch)
    /// No row of the batch is trained, and nothing has changed.
    case empty
  }

  /// The quantity that is not finite.
  package enum NonFiniteQuantity: String {
    case loss, gradient
  }

  /// The number of the step, from 1.
  package let step: Int
  package let outcome: Outcome
  /// The union of the requests of all ranks.
  package let requests: StepRequests

  package var update: StepUpdate? {
    if case .updated(let update) = outcome { update } else { nil }
  }
}

/// Figures of a step that has changed the weights.
package struct StepUpdate {
  /// Loss and accuracy over the global batch, before the update.
  package let objective: ObjectiveMetrics
  package let learningRate: Double
  /// The norm of the averaged gradient.
  package let gradientNorm: Double
  /// The number of tokens of the batch's conversations.
  package let tokens: Int
  package let seconds: Double
  /// nil for a run of one rank.
  package let communication: StepCommunication?
}

extension StepMetrics {
  /// - Parameter epoch: from 0
  init(_ update: StepUpdate, step: Int, epoch: Int) {
    let objective = update.objective
    self.init(
      step: step, epoch: epoch + 1, loss: objective.loss, lossByPosition: objective.lossByPosition,
      lr: update.learningRate, gradNorm: update.gradientNorm, tokens: update.tokens,
      tokensPerSecond: Double(update.tokens) / update.seconds, accuracy: objective.accuracy,
      acceptance: objective.acceptance, simulatedAcceptanceLength: objective.simulatedAcceptanceLength,
      communication: update.communication)
  }
}
