import EagleCore
import Foundation

/// Results of benchmarks as lines for people.
package enum BenchmarkTable {
  private static let columns = TextTable(
    .cut(18), .right(10), .right(15), .cut(21), .right(11), .right(9), .right(8), .right(10))

  /// A line for the columns, one for each benchmark, their mean, and one for each context length.
  ///
  /// - Parameter mean: the interval of the mean acc_length
  package static func lines(_ benchmarks: [String: BenchmarkResult], mean: Interval?) -> [String] {
    let header = columns.line(
      "  benchmark", "acc_length", "95 % interval", "   by position", "tokens/s", "plain", "ratio", "prompts",
      "   equal to plain")
    let sorted = benchmarks.sorted { $0.key < $1.key }
    let contexts = sorted.flatMap { name, result in
      (result.contexts ?? []).map { row("\($0.contextLength): \(name)", $0.result) }
    }
    let rows = sorted.map { row($0.key, $0.value) }
    let last = columns.line("  mean", String(format: "%.2f", benchmarks.meanAccLength), mean?.text ?? "")
    return [header] + rows + [last] + (contexts.isEmpty ? [] : ["  by tokens of the prompt:"] + contexts)
  }

  private static func row(_ name: String, _ result: BenchmarkResult) -> String {
    let positions = result.acceptanceByPosition.map { String(format: "%.2f", $0) }.joined(separator: " ")
    return columns.line(
      "  \(name)", String(format: "%.2f", result.accLength), result.accLengthInterval?.text ?? "", "   \(positions)",
      String(format: "%.1f", result.tokensPerSecond), String(format: "%.1f", result.plainTokensPerSecond),
      String(format: "%.2f", result.speedup), "\(result.prompts)", "   \(result.equality)")
  }
}
