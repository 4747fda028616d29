import EagleDecoding
import EagleStorage
import Foundation

/// What one benchmark showed.
public struct BenchmarkResult: Codable, Sendable, Equatable {
  public var accLength: Double
  public var draftLength: Int
  /// What was drafted in a round, in words.
  public var plan: String?
  public var acceptanceByPosition: [Double]
  public var tokensPerSecond: Double
  public var plainTokensPerSecond: Double
  public var speedup: Double
  public var prompts: Int
  public var newTokens: Int
  /// Texts that differ from plain greedy decoding; anything but 0 is a defect of the program.
  public var differing: Int
  /// What was counted, with the head and without it: all else follows from it.
  public var counts: Counts?
  /// Speed with the head as a multiple of that without it, for each prompt in order, one that ended
  /// with its first token left out; files of older versions have none.
  public var speedups: [Double]?

  /// Raw counts of both ways to decode.
  public struct Counts: Codable, Sendable, Equatable {
    public var speculative: DecodingStatistics
    public var plain: DecodingStatistics
  }

  enum CodingKeys: String, CodingKey {
    case speedup, speedups, prompts, differing, plan, counts
    case accLength = "acc_length"
    case draftLength = "draft_length"
    case acceptanceByPosition = "acceptance_by_position"
    case tokensPerSecond = "tokens_per_second"
    case plainTokensPerSecond = "plain_tokens_per_second"
    case newTokens = "new_tokens"
  }

  init(_ counts: BenchmarkCounts, plan: DraftPlan) {
    let (speculative, plain) = (counts.speculative, counts.plain)
    accLength = speculative.acceptanceLength
    draftLength = plan.depth
    self.plan = plan.description
    self.counts = Counts(speculative: speculative, plain: plain)
    acceptanceByPosition = speculative.acceptanceByPosition
    tokensPerSecond = speculative.tokensPerSecond
    plainTokensPerSecond = plain.tokensPerSecond
    speedup = plain.tokensPerSecond == 0 ? 0 : speculative.tokensPerSecond / plain.tokensPerSecond
    prompts = counts.prompts
    newTokens = speculative.newTokens
    differing = counts.differing
    speedups = counts.speedups
  }

  /// The median over prompts of the speed with the head as a multiple of that without it, and the least.
  public var speedupOfPrompts: (median: Double, least: Double)? {
    guard let speedups = speedups?.sorted(), !speedups.isEmpty else { return nil }
    let middle = speedups.count / 2
    let median = speedups.count.isMultiple(of: 2) ? (speedups[middle - 1] + speedups[middle]) / 2 : speedups[middle]
    return (median, speedups[0])
  }
}

/// Sums over prompts; ranks add theirs.
struct BenchmarkCounts: Codable, Sendable {
  var speculative = DecodingStatistics()
  var plain = DecodingStatistics()
  var prompts = 0
  var differing = 0
  /// Of each prompt.
  var speedups: [Double] = []

  static func += (sum: inout BenchmarkCounts, other: BenchmarkCounts) {
    sum.speculative += other.speculative
    sum.plain += other.plain
    sum.prompts += other.prompts
    sum.differing += other.differing
    sum.speedups += other.speedups
  }
}

/// One entry of `evaluation.json`.
public struct EvaluationRecord: Codable, Sendable, Equatable {
  /// Epochs trained; 0 is before the first.
  public var epoch: Int
  public var step: Int
  /// Mean acc_length of the benchmarks.
  public var meanAccLength: Double
  public var benchmarks: [String: BenchmarkResult]
  /// Teacher-forced metrics on the held-out conversations.
  public var heldOut: ObjectiveMetrics?
  /// What `benchmarks` were measured with; files of older versions do not say.
  public var conditions: EvaluationConditions?
  /// Earlier measurements of the same head under other conditions, oldest first.
  public var earlier: [EvaluationRecord]?
  /// When it was done, in seconds since 1970, and how long it took; files of older versions have neither.
  public var time: Double?
  public var seconds: Double?

  enum CodingKeys: String, CodingKey {
    case epoch, step, benchmarks, time, seconds, conditions, earlier
    case meanAccLength = "mean_acc_length"
    case heldOut = "held_out"
  }

  public init(
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

  /// What the best epoch is chosen by: acc_length, without benchmarks the held-out estimate, without either the epoch.
  public var score: Double {
    benchmarks.isEmpty ? heldOut?.simulatedAcceptanceLength ?? Double(epoch) : meanAccLength
  }

  /// Whether this record and another were measured with the same prompts and settings.
  public func isComparable(to other: EvaluationRecord) -> Bool {
    conditions != nil && conditions == other.conditions && (heldOut == nil) == (other.heldOut == nil)
  }

  /// Whether this head is better than all trained ones before it that were measured alike.
  public func isBest(after earlier: [EvaluationRecord]) -> Bool {
    epoch > 0 && earlier.allSatisfy { $0.epoch == 0 || !isComparable(to: $0) || $0.score < score }
  }

  /// The table that people see; empty without benchmarks.
  public func table() -> [String] { benchmarks.isEmpty ? [] : Self.table(benchmarks) + [Self.mean(meanAccLength)] }

  private static func mean(_ value: Double) -> String {
    "  mean".padding(toLength: 18, withPad: " ", startingAt: 0) + String(format: "%10.2f", value)
  }

  /// A line for the columns, then one for each benchmark.
  public static func table(_ benchmarks: [String: BenchmarkResult]) -> [String] {
    let header =
      "  benchmark       acc_length   by position          tokens/s    plain   ratio   prompts   equal to plain"
    let rows = benchmarks.sorted { $0.key < $1.key }.map { name, result in
      let positions = result.acceptanceByPosition.map { String(format: "%.2f", $0) }.joined(separator: " ")
      return "  " + name.padding(toLength: 16, withPad: " ", startingAt: 0)
        + String(format: "%10.2f   ", result.accLength) + positions.padding(toLength: 18, withPad: " ", startingAt: 0)
        + String(
          format: "%11.1f %8.1f %7.2f %9d   ", result.tokensPerSecond, result.plainTokensPerSecond, result.speedup,
          result.prompts) + (result.differing == 0 ? "all" : "\(result.differing) DIFFER")
    }
    return [header] + rows
  }
}

/// `evaluation.json`: the records of a run, oldest first.
public enum EvaluationFile {
  /// The records of a file; none when there is no such file.
  public static func read(_ path: String) throws -> [EvaluationRecord] {
    guard let data = FileManager.default.contents(atPath: path) else { return [] }
    return try decode(data, path: path)
  }

  /// Records from the bytes of such a file, which `path` names in errors.
  public static func decode(_ data: Data, path: String) throws -> [EvaluationRecord] {
    guard let records = try? JSONDecoder().decode([EvaluationRecord].self, from: data) else {
      throw TrainingError(path: path, problem: "is not a list of evaluations", advice: "remove it, or restore it")
    }
    return records
  }
}

extension EvaluationFile {
  /// Writes all records, whole or not at all.
  public static func write(_ records: [EvaluationRecord], to path: String) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    try AtomicFile.write(path: path, data: try encoder.encode(records))
  }
}
