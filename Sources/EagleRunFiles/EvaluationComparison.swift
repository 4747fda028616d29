import EagleCore
import Foundation

/// Two evaluations over the same prompts: the difference of acc_length, paired prompt by prompt.
///
/// A resample takes the same prompts for both, so what makes a prompt easy or hard for any head cancels out. The
/// interval is narrower than those of the two values, which may overlap though the difference is certain.
package struct EvaluationComparison: Encodable, Equatable {
  /// One benchmark, or the mean over all.
  package struct Row: Encodable, Equatable {
    package let benchmark: String
    /// acc_length of each.
    package let first: Double
    package let second: Double
    /// `second` less `first`, and its 95 % interval over prompts; nil for fewer than two prompts.
    package let difference: Double
    package let interval: Interval?
    package let prompts: Int
  }

  package let first: String
  package let second: String
  package let benchmarks: [Row]
  /// The mean over the benchmarks.
  package let mean: Row
  /// Benchmarks that only one of the two has.
  package let unpaired: [String]

  /// - Throws: `LocatedError` without a common benchmark, for other prompts, and where counts by prompt are missing
  package init(
    _ first: MeasuredBenchmarks, _ second: MeasuredBenchmarks, using random: inout some RandomNumberGenerator
  ) throws {
    let names = Set(first.results.keys).intersection(second.results.keys).sorted()
    guard !names.isEmpty else {
      throw LocatedError(
        path: second.name, problem: "has no benchmark in common with \(first.name)",
        advice: "measure both with the same evaluate.benchmarks")
    }
    var (rows, pairs) = ([Row](), [Pair]())
    for name in names {
      let pair = try Pair(name, first, second)
      rows.append(Row(name, [pair], using: &random))
      pairs.append(pair)
    }
    (benchmarks, mean) = (rows, Row("mean", pairs, using: &random))
    (self.first, self.second) = (first.name, second.name)
    unpaired = Set(first.results.keys).symmetricDifference(second.results.keys).sorted()
  }

  /// The table that people see.
  package func lines() -> [String] {
    let columns = TextTable(.left(18), .right(9), .right(9), .right(10), .right(18), .right(10))
    let header = ["  benchmark", "A", "B", "B - A", "95 % interval", "prompts"]
    let rows = (benchmarks + [mean]).map { row in
      [
        "  \(row.benchmark)", String(format: "%.2f", row.first), String(format: "%.2f", row.second),
        String(format: "%+.3f", row.difference),
        row.interval.map { String(format: "[%+.3f, %+.3f]", $0.low, $0.high) } ?? "", "\(row.prompts)",
      ]
    }
    let missing = unpaired.isEmpty ? [] : ["only in one of them, and left out: \(unpaired.joined(separator: ", "))"]
    return ["A: \(first)", "B: \(second)"] + columns.lines([header] + rows) + missing + [verdict]
  }

  private var verdict: String {
    guard let interval = mean.interval else { return "too few prompts for an interval" }
    if interval.low > 0 { return "B accepts more than A: the interval of the mean lies above 0" }
    if interval.high < 0 { return "B accepts less than A: the interval of the mean lies below 0" }
    return "the interval of the mean holds 0: these prompts do not tell which of the two accepts more"
  }
}

/// The counts of a benchmark by prompt, of two evaluations.
private struct Pair {
  let first: PromptCounts
  let second: PromptCounts

  init(_ benchmark: String, _ first: MeasuredBenchmarks, _ second: MeasuredBenchmarks) throws {
    let (a, b) = (first.results[benchmark], second.results[benchmark])
    self.first = try Self.counts(a, benchmark, first.name)
    self.second = try Self.counts(b, benchmark, second.name)
    guard self.first.count == self.second.count, a?.promptsDigest == b?.promptsDigest else {
      throw LocatedError(
        path: second.name, problem: "its prompts of \(benchmark) are not those of \(first.name)",
        advice: "measure both with the same prompt files, evaluate.limit and evaluate.validation")
    }
  }

  private static func counts(_ result: BenchmarkResult?, _ benchmark: String, _ name: String) throws -> PromptCounts {
    if let counts = result?.byPrompt, counts.count > 0 { return counts }
    throw LocatedError(
      path: name, problem: "has no counts by prompt for \(benchmark): an older version wrote it",
      advice: "evaluate that head again")
  }
}

extension EvaluationComparison.Row {
  fileprivate init(_ benchmark: String, _ pairs: [Pair], using random: inout some RandomNumberGenerator) {
    func mean(_ value: (Int) -> Double) -> Double { pairs.indices.reduce(0) { $0 + value($1) } / Double(pairs.count) }
    let sizes = pairs.map(\.first.count)
    func firstMean(_ sample: [[Int]]) -> Double { mean { pairs[$0].first.accLength(of: sample[$0]) } }
    func secondMean(_ sample: [[Int]]) -> Double { mean { pairs[$0].second.accLength(of: sample[$0]) } }
    let all = sizes.map { Array(0..<$0) }
    self.benchmark = benchmark
    (first, second) = (firstMean(all), secondMean(all))
    difference = second - first
    interval = Bootstrap.interval(sizes: sizes, using: &random) { secondMean($0) - firstMean($0) }
    prompts = sizes.reduce(0, +)
  }
}
