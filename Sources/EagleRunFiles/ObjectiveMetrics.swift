/// The metrics of the objective over K TTT steps, from their sums.
package struct ObjectiveMetrics: Codable, Sendable, Equatable {
  package let loss: Double
  /// The loss of each TTT step, undecayed; files of older versions have none.
  package let lossByPosition: [Double]?
  package let accuracy: [Double]
  package let acceptance: [Double]
  package let simulatedAcceptanceLength: Double
  /// Conversations that count nowhere, since their values are non-finite; files of older versions have none.
  package let leftOut: Int?
  /// Counts by group of held-out conversations, for intervals; nil for metrics of training and in files of older
  /// versions.
  package var groups: HeldOutGroups?

  enum CodingKeys: String, CodingKey {
    case loss, accuracy, acceptance, groups
    case leftOut = "left_out"
    case lossByPosition = "loss_by_position"
    case simulatedAcceptanceLength = "simulated_acceptance_length"
  }

  package init(
    loss: Double, lossByPosition: [Double]?, accuracy: [Double], acceptance: [Double], leftOut: Int? = nil
  ) {
    (self.loss, self.lossByPosition, self.leftOut) = (loss, lossByPosition, leftOut)
    (self.accuracy, self.acceptance) = (accuracy, acceptance)
    simulatedAcceptanceLength = Self.simulatedAcceptanceLength(accuracy)
  }

  /// 1 + a₀ + a₀a₁ + … of the accuracies of the steps.
  package static func simulatedAcceptanceLength(_ accuracy: [Double]) -> Double {
    1 + products(accuracy).reduce(0, +)
  }

  /// The share of rounds that would keep a chain of drafts up to each position, were every round like these rows:
  /// the products of `accuracy`.
  package var simulatedAcceptanceByDepth: [Double] { Self.products(accuracy) }

  /// a₀, a₀a₁, a₀a₁a₂, …
  private static func products(_ values: [Double]) -> [Double] {
    var product = 1.0
    return values.map {
      product *= $0
      return product
    }
  }
}
