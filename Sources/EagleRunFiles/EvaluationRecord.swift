import EagleCore
import Foundation

/// One entry of `evaluation.json`.
package struct EvaluationRecord: Codable, Sendable, Equatable {
  /// Epochs trained; 0 is before the first.
  package var epoch: Int
  package var step: Int
  /// Mean acc_length of the benchmarks.
  package var meanAccLength: Double
  package var benchmarks: [String: BenchmarkResult]
  /// Teacher-forced metrics on the held-out conversations.
  package var heldOut: ObjectiveMetrics?
  /// The conditions of `benchmarks`; files of older versions have none.
  package var conditions: EvaluationConditions?
  /// Earlier measurements of the same head under other conditions, oldest first.
  package var earlier: [EvaluationRecord]?
  /// The time of the evaluation in seconds since 1970, and its duration; files of older versions have neither.
  package var time: Double?
  package var seconds: Double?

  enum CodingKeys: String, CodingKey {
    case epoch, step, benchmarks, time, seconds, conditions, earlier
    case meanAccLength = "mean_acc_length"
    case heldOut = "held_out"
  }

  package init(
    epoch: Int, step: Int, benchmarks: [String: BenchmarkResult], heldOut: ObjectiveMetrics?,
    conditions: EvaluationConditions? = nil
  ) {
    self.epoch = epoch
    self.step = step
    self.benchmarks = benchmarks
    self.heldOut = heldOut
    self.conditions = conditions
    meanAccLength = benchmarks.values.map(\.accLength).sorted().reduce(0, +) / Double(max(1, benchmarks.count))
  }

  /// The score that the best epoch is chosen by: acc_length, without benchmarks the held-out estimate, without either
  /// the epoch.
  package var score: Double {
    benchmarks.isEmpty ? heldOut?.simulatedAcceptanceLength ?? Double(epoch) : meanAccLength
  }

  /// Whether this record and another were measured under the same conditions.
  package func isComparable(to other: EvaluationRecord) -> Bool {
    conditions != nil && conditions == other.conditions && (heldOut == nil) == (other.heldOut == nil)
  }

  /// Whether this head is better than all trained ones before it that were measured under the same conditions.
  package func isBest(after earlier: [EvaluationRecord]) -> Bool {
    epoch > 0 && earlier.allSatisfy { $0.epoch == 0 || !isComparable(to: $0) || $0.score < score }
  }

  /// The table that people see; empty without benchmarks.
  package func table() -> [String] { benchmarks.isEmpty ? [] : Self.table(benchmarks) + [Self.mean(meanAccLength)] }

  private static func mean(_ value: Double) -> String { columns.line("  mean", String(format: "%.2f", value)) }

  private static let columns = TextTable(
    .cut(18), .right(10), .cut(21), .right(11), .right(9), .right(8), .right(10))

  /// A line for the columns, then one for each benchmark.
  package static func table(_ benchmarks: [String: BenchmarkResult]) -> [String] {
    let header =
      "  benchmark       acc_length   by position          tokens/s    plain   ratio   prompts   equal to plain"
    let rows = benchmarks.sorted { $0.key < $1.key }.map { name, result in
      let positions = result.acceptanceByPosition.map { String(format: "%.2f", $0) }.joined(separator: " ")
      return columns.line(
        "  \(name)", String(format: "%.2f", result.accLength), "   \(positions)",
        String(format: "%.1f", result.tokensPerSecond), String(format: "%.1f", result.plainTokensPerSecond),
        String(format: "%.2f", result.speedup), "\(result.prompts)",
        "   " + (result.differing == 0 ? "all" : "\(result.differing) DIFFER"))
    }
    return [header] + rows
  }
}
