/// Counts of held-out conversations, group by group: what intervals of held-out accuracies are computed from.
///
/// A group is one conversation or, where there are many, several that follow each other.
package struct HeldOutGroups: Codable, Sendable, Equatable {
  /// Tells conversations and targets apart.
  package var digest: String
  /// Trained rows of each TTT step and group, [K, groups].
  package var rows: [[Int]]
  /// The rows among them in which the head's most likely token is the target's, [K, groups].
  package var hits: [[Int]]

  /// The most groups of an evaluation.
  package static let most = 100

  package init(digest: String, rows: [[Int]], hits: [[Int]]) {
    (self.digest, self.rows, self.hits) = (digest, rows, hits)
  }

  package init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: CodingKeys.self)
    digest = try fields.decode(String.self, forKey: .digest)
    rows = try fields.decode([[Int]].self, forKey: .rows)
    hits = try fields.decode([[Int]].self, forKey: .hits)
    guard rows.count == hits.count, (rows + hits).allSatisfy({ $0.count == rows[0].count }) else {
      throw DecodingError.dataCorrupted(
        .init(codingPath: decoder.codingPath, debugDescription: "lists of different lengths"))
    }
  }

  /// K.
  package var steps: Int { rows.count }
  /// The number of groups.
  package var count: Int { rows.first?.count ?? 0 }

  /// The simulated acceptance length over some groups, by index; one may come several times.
  ///
  /// - Parameter steps: TTT steps that count, at most K
  package func simulatedAcceptanceLength(of groups: [Int], steps: Int) -> Double {
    ObjectiveMetrics.simulatedAcceptanceLength(
      (0..<steps).map { k in
        // Sums of doubles: counts come from a file, and sums of integers may overflow.
        let rows = groups.reduce(0.0) { $0 + Double(self.rows[k][$1]) }
        return rows == 0 ? 0 : groups.reduce(0.0) { $0 + Double(hits[k][$1]) } / rows
      })
  }

  /// Whether both hold the same conversations, all of them.
  package func isComparable(to other: HeldOutGroups) -> Bool {
    let steps = min(steps, other.steps)
    return digest == other.digest && steps > 0 && rows.prefix(steps) == other.rows.prefix(steps)
  }
}
