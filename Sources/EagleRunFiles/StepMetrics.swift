import Foundation

/// One line of `metrics.jsonl`: an optimiser step of all ranks.
package struct StepMetrics: Codable, Sendable, Equatable {
  /// Optimiser steps done, this one included.
  package let step: Int
  /// The number of the epoch, counted from 1.
  package let epoch: Int
  package let loss: Double
  /// The loss of each TTT step, undecayed; files of older versions have none.
  package let lossByPosition: [Double]?
  package let lr: Double
  package let gradNorm: Double
  /// Tokens of the batch's conversations.
  package let tokens: Int
  package let tokensPerSecond: Double
  /// Accuracy by TTT step, K of them.
  package let accuracy: [Double]
  package let acceptance: [Double]
  package let simulatedAcceptanceLength: Double
  /// Nil for a run of one rank.
  package let communication: StepCommunication?

  package init(
    step: Int, epoch: Int, loss: Double, lossByPosition: [Double]?, lr: Double, gradNorm: Double, tokens: Int,
    tokensPerSecond: Double, accuracy: [Double], acceptance: [Double], simulatedAcceptanceLength: Double,
    communication: StepCommunication?
  ) {
    self.step = step
    self.epoch = epoch
    self.loss = loss
    self.lossByPosition = lossByPosition
    self.lr = lr
    self.gradNorm = gradNorm
    self.tokens = tokens
    self.tokensPerSecond = tokensPerSecond
    self.accuracy = accuracy
    self.acceptance = acceptance
    self.simulatedAcceptanceLength = simulatedAcceptanceLength
    self.communication = communication
  }

  enum CodingKeys: String, CodingKey {
    case step, epoch, loss, lr, tokens, accuracy, acceptance, communication
    case lossByPosition = "loss_by_position"
    case gradNorm = "grad_norm"
    case tokensPerSecond = "tokens_per_second"
    case simulatedAcceptanceLength = "simulated_acceptance_length"
  }
}
