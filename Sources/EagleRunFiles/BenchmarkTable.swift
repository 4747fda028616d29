import EagleCore
import Foundation

/// Results of benchmarks as lines for people.
package enum BenchmarkTable {
  private static let columns = TextTable(
    .left(18), .right(11), .right(15), .left(21), .right(11), .right(9), .right(8), .right(10))

  /// A line for the columns, one for each benchmark, their mean, and one for each context length. Columns are as wide
  /// as their longest cell.
  ///
  /// - Parameter mean: the interval of the mean acc_length
  package static func lines(_ benchmarks: [String: BenchmarkResult], mean: Interval?) -> [String] {
    let header = [
      "  benchmark", "acc_length", "95 % interval", "   by position", "tokens/s", "plain", "ratio", "prompts",
      "   equal to plain",
    ]
    let sorted = benchmarks.sorted { $0.key < $1.key }
    let rows = sorted.map { cells($0.key, $0.value) }
    let contexts = sorted.flatMap { name, result in
      (result.contexts ?? []).map { cells("\($0.contextLength): \(name)", $0.result) }
    }
    let last = ["  mean", String(format: "%.2f", benchmarks.meanAccLength), mean?.text ?? ""]
    let lines = columns.lines([header] + rows + [last] + contexts)
    let count = lines.count - contexts.count
    return lines.prefix(count) + (contexts.isEmpty ? [] : ["  by tokens of the prompt:"] + lines.suffix(contexts.count))
  }

  private static func cells(_ name: String, _ result: BenchmarkResult) -> [String] {
    let positions = result.acceptanceByPosition.map { String(format: "%.2f", $0) }.joined(separator: " ")
    return [
      "  \(name)", String(format: "%.2f", result.accLength), result.accLengthInterval?.text ?? "", "   \(positions)",
      String(format: "%.1f", result.tokensPerSecond), String(format: "%.1f", result.plainTokensPerSecond),
      String(format: "%.2f", result.speedup), "\(result.prompts)", "   \(result.equality)",
    ]
  }
}
