import EagleDraft
import EagleRunFiles
import EagleTensor

/// The results of an evaluation.
package struct EvaluationResults {
  /// The reported results by name of the benchmark.
  package internal(set) var benchmarks: [String: BenchmarkResult] = [:]
  /// The results of the prompts that select the best head; nil if those of `benchmarks` select it, and if the
  /// validation prompts were not decoded.
  package internal(set) var validation: [String: BenchmarkResult]?

  /// Adds the result of a set.
  mutating func add(_ result: BenchmarkResult, of set: EvaluationSet) {
    switch set.role {
    case .reported: benchmarks[set.benchmark] = result
    case .validation: validation = (validation ?? [:]).merging([set.benchmark: result]) { $1 }
    case .context(let length):
      let context = ContextResult(contextLength: length, result: result)
      let before = benchmarks[set.benchmark]?.contexts ?? []
      benchmarks[set.benchmark]?.contexts = before + [context]
    }
  }
}

extension BenchmarkResult {
  /// The result with its intervals over prompts. The same counts give the same intervals.
  func withIntervals() -> BenchmarkResult {
    var (result, random) = (self, RandomSource.bootstrap)
    result.addIntervals(using: &random)
    return result
  }
}

extension [String: BenchmarkResult] {
  /// The 95 % interval of the mean acc_length over prompts; nil if a benchmark has fewer than two.
  package var meanAccLengthInterval: Interval? {
    var random = RandomSource.bootstrap
    let counts = sorted { $0.key < $1.key }.compactMap(\.value.byPrompt)
    return counts.count == count ? PromptCounts.meanAccLengthInterval(counts, using: &random) : nil
  }
}

extension EvaluationRecord {
  /// The record of an evaluation.
  ///
  /// - Parameters:
  ///   - epoch: epochs trained
  ///   - step: optimiser steps done
  ///   - heldOut: teacher-forced metrics
  package init(
    epoch: Int, step: Int, results: EvaluationResults, heldOut: ObjectiveMetrics?, conditions: EvaluationConditions
  ) {
    self.init(
      epoch: epoch, step: step, benchmarks: results.benchmarks, heldOut: heldOut, conditions: conditions)
    validation = results.validation
    meanAccLengthInterval = results.benchmarks.meanAccLengthInterval
  }
}

extension RandomSource {
  /// The random source of the bootstrap resamples of every interval.
  package static var bootstrap: RandomSource { RandomSource(seed: 0, purpose: "bootstrap") }
}
