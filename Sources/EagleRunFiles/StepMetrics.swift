import Foundation

/// One line of `metrics.jsonl`: an optimiser step of all ranks.
public struct StepMetrics: Codable, Sendable, Equatable {
  /// Optimiser steps done, this one included.
  public let step: Int
  /// The number of the epoch, counted from 1.
  public let epoch: Int
  public let loss: Double
  /// The loss of each TTT step, undecayed; files of older versions have none.
  public let lossByPosition: [Double]?
  public let lr: Double
  public let gradNorm: Double
  /// Tokens of the batch's conversations.
  public let tokens: Int
  public let tokensPerSecond: Double
  /// Accuracy by TTT step, K of them.
  public let accuracy: [Double]
  public let acceptance: [Double]
  public let simulatedAcceptanceLength: Double
  /// Nil for a run of one rank.
  public let communication: StepCommunication?

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
