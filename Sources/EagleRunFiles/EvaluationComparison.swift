import EagleCore
import Foundation

/// Two evaluations: the difference of acc_length over the same prompts, paired prompt by prompt, and of the simulated
/// acceptance length on the same held-out conversations.
///
/// A resample takes the same prompts for both, so what makes a prompt easy or hard for any head cancels out. The
/// interval is narrower than those of the two values, which may overlap though the difference is certain.
package struct EvaluationComparison: Encodable, Equatable {
  /// One benchmark, or the mean over all.
  package struct Row: Encodable, Equatable {
    package let benchmark: String
    /// acc_length of each, or the simulated acceptance length.
    package let first: Double
    package let second: Double
    /// `second` less `first`, and its 95 % interval over samples; nil for fewer than two.
    package let difference: Double
    package let interval: Interval?
    /// Prompts, or groups of held-out conversations.
    package let samples: Int
  }

  package let first: String
  package let second: String
  package let benchmarks: [Row]
  /// The mean over the benchmarks; nil without one.
  package let mean: Row?
  /// The simulated acceptance length on held-out conversations, paired by group of conversations; nil where one of the
  /// two has no counts, or has held out other conversations.
  package let heldOut: Row?
  /// Benchmarks that only one of the two has.
  package let unpaired: [String]
  /// What differs between the two other than the head: then the difference is not that of the heads.
  package let remarks: [String]

  private enum CodingKeys: String, CodingKey {
    case first, second, benchmarks, mean, unpaired, remarks
    case heldOut = "held_out"
  }

  /// - Throws: `LocatedError` with nothing in common, for other prompts, and where counts by prompt are missing
  package init(
    _ first: MeasuredBenchmarks, _ second: MeasuredBenchmarks, using random: inout some RandomNumberGenerator
  ) throws {
    let names = Set(first.results.keys).intersection(second.results.keys).sorted()
    heldOut = Row(heldOut: first.heldOut, second.heldOut, using: &random)
    guard !names.isEmpty || heldOut != nil else {
      throw LocatedError(
        path: second.name, problem: "has no benchmark and no held-out conversations in common with \(first.name)",
        advice: "measure both with the same evaluate.benchmarks, or the same data, data.held_out and train.seed")
    }
    var (rows, pairs) = ([Row](), [Pair]())
    for name in names {
      let pair = try Pair(name, first, second)
      rows.append(Row(name, [pair], using: &random))
      pairs.append(pair)
    }
    (benchmarks, mean) = (rows, pairs.isEmpty ? nil : Row("mean", pairs, using: &random))
    (self.first, self.second) = (first.name, second.name)
    unpaired = Set(first.results.keys).symmetricDifference(second.results.keys).sorted()
    remarks = Self.remarks(first, second, names)
  }

  private static func remarks(
    _ first: MeasuredBenchmarks, _ second: MeasuredBenchmarks, _ names: [String]
  ) -> [String] {
    func remark(_ what: String, _ a: String?, _ b: String?) -> String? {
      a == b ? nil : "\(what): A was measured with \(a ?? "another version"), B with \(b ?? "another version")"
    }
    func temperature(_ result: BenchmarkResult?) -> String { "temperature \(result?.temperature ?? 0)" }
    let limits = [first, second].map { $0.maxNewTokens.map { "at most \($0) tokens a text" } }
    let reasoning = [first, second].map { "reasoning \($0.reasoning ?? "as the template has it")" }
    // A file of `bench` does not hold these.
    let areKnown = !limits.contains(nil)
    return names.flatMap { name in
      let (a, b) = (first.results[name], second.results[name])
      return [remark(name, a?.plan, b?.plan), remark(name, temperature(a), temperature(b))].compactMap { $0 }
    }
      + (areKnown ? [remark("all", limits[0], limits[1]), remark("all", reasoning[0], reasoning[1])] : [])
      .compactMap { $0 }
  }

  /// The table that people see.
  package func lines() -> [String] {
    let columns = TextTable(.left(22), .right(9), .right(9), .right(10), .right(18), .right(10))
    let header = ["  benchmark", "A", "B", "B - A", "95 % interval", "samples"]
    let rows = (benchmarks + [mean, heldOut].compactMap { $0 }).map { row in
      [
        "  \(row.benchmark)", String(format: "%.2f", row.first), String(format: "%.2f", row.second),
        String(format: "%+.3f", row.difference),
        row.interval.map { String(format: "[%+.3f, %+.3f]", $0.low, $0.high) } ?? "", "\(row.samples)",
      ]
    }
    let missing = unpaired.isEmpty ? [] : ["only in one of them, and left out: \(unpaired.joined(separator: ", "))"]
    let differing = remarks.isEmpty ? [] : remarks + ["so the difference is not that of the heads alone"]
    return ["A: \(first)", "B: \(second)"] + columns.lines([header] + rows) + missing + differing + [verdict]
  }

  private var verdict: String {
    guard let mean else { return verdict(heldOut, of: "held-out conversations", "on held-out conversations") }
    return verdict(mean, of: "prompts", "of the mean")
  }

  private func verdict(_ row: Row?, of samples: String, _ what: String) -> String {
    guard let interval = row?.interval else { return "too few \(samples) for an interval" }
    if interval.low > 0 { return "B accepts more than A: the interval \(what) lies above 0" }
    if interval.high < 0 { return "B accepts less than A: the interval \(what) lies below 0" }
    return "the interval \(what) holds 0: these \(samples) do not tell which of the two accepts more"
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
  /// Over the TTT steps that both heads were measured on; nil for other conversations.
  fileprivate init?(
    heldOut first: HeldOutGroups?, _ second: HeldOutGroups?, using random: inout some RandomNumberGenerator
  ) {
    guard let first, let second, first.isComparable(to: second) else { return nil }
    let (all, steps) = (Array(0..<first.count), min(first.steps, second.steps))
    benchmark = "held out, simulated"
    self.first = first.simulatedAcceptanceLength(of: all, steps: steps)
    self.second = second.simulatedAcceptanceLength(of: all, steps: steps)
    difference = self.second - self.first
    interval = Bootstrap.interval(sizes: [all.count], using: &random) {
      second.simulatedAcceptanceLength(of: $0[0], steps: steps)
        - first.simulatedAcceptanceLength(of: $0[0], steps: steps)
    }
    samples = all.count
  }

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
    samples = sizes.reduce(0, +)
  }
}
