import EagleCore
import Foundation

/// One entry of `evaluation.json`.
package struct EvaluationRecord: Codable, Sendable, Equatable {
  /// Epochs trained; 0 is before the first.
  package var epoch: Int
  package var step: Int
  /// Mean acc_length of the benchmarks.
  package var meanAccLength: Double
  /// The 95 % interval of `meanAccLength` over prompts; nil where a benchmark has fewer than two prompts, and in files
  /// of older versions.
  package var meanAccLengthInterval: Interval?
  package var benchmarks: [String: BenchmarkResult]
  /// Results of the prompts that the best epoch is chosen by; nil where it is chosen by those of `benchmarks`.
  package var validation: [String: BenchmarkResult]?
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
    case epoch, step, benchmarks, validation, time, seconds, conditions, earlier
    case meanAccLength = "mean_acc_length"
    case meanAccLengthInterval = "mean_acc_length_interval"
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
    meanAccLength = benchmarks.meanAccLength
  }

  /// Mean acc_length of the prompts that the best epoch is chosen by; nil where there are no such prompts apart.
  package var validationAccLength: Double? { validation?.meanAccLength }

  /// The score that the best epoch is chosen by: acc_length, of the validation prompts where there are any; without
  /// benchmarks the held-out estimate, without either the epoch.
  package var score: Double {
    benchmarks.isEmpty
      ? heldOut?.simulatedAcceptanceLength ?? Double(epoch) : validationAccLength ?? meanAccLength
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
  package func table() -> [String] {
    guard !benchmarks.isEmpty else { return [] }
    var lines = BenchmarkTable.lines(benchmarks, mean: meanAccLengthInterval)
    if let validationAccLength, let validation {
      let prompts = validation.values.map(\.prompts).reduce(0, +)
      let length = String(format: "%.2f", validationAccLength)
      lines.append("  the best head is chosen by \(prompts) other prompts, whose mean acc_length is \(length)")
    }
    return lines
  }
}

extension [String: BenchmarkResult] {
  /// The mean of the benchmarks' acc_length; 0 without benchmarks.
  package var meanAccLength: Double { values.map(\.accLength).sorted().reduce(0, +) / Double(Swift.max(1, count)) }
}

extension [EvaluationRecord] {
  /// The evaluation that the exported head comes from; the one before training when there is no other. Heads that were
  /// measured under other conditions than the last one do not compete.
  package var best: EvaluationRecord? {
    let trained = filter { $0.epoch > 0 && $0.conditions == last?.conditions }
    return trained.max { ($0.score, $1.epoch) < ($1.score, $0.epoch) } ?? last
  }
}
