/// Counts of one group of held-out conversations: what intervals of held-out accuracies are computed from.
///
/// A group is one conversation or, where there are many, several that follow each other.
package struct HeldOutCounts: Codable, Sendable, Equatable {
  /// Trained rows of each TTT step, [K].
  package var rows: [Int]
  /// The rows among them in which the head's most likely token is the target's, [K].
  package var hits: [Int]

  package init(rows: [Int], hits: [Int]) { (self.rows, self.hits) = (rows, hits) }

  /// The most groups of an evaluation.
  package static let mostGroups = 200
}

extension [HeldOutCounts] {
  /// The simulated acceptance length over some groups, by index; one may come several times.
  ///
  /// - Parameter steps: TTT steps that count, at most K
  package func simulatedAcceptanceLength(of groups: [Int], steps: Int) -> Double {
    ObjectiveMetrics.simulatedAcceptanceLength(
      (0..<steps).map { k in
        let rows = groups.reduce(0) { $0 + self[$1].rows[k] }
        return rows == 0 ? 0 : Double(groups.reduce(0) { $0 + self[$1].hits[k] }) / Double(rows)
      })
  }

  /// The fewest TTT steps of a group; 0 without groups.
  var steps: Int { map { Swift.min($0.rows.count, $0.hits.count) }.min() ?? 0 }
}
