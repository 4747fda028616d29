/// The sums over the prompts of a benchmark; ranks add theirs up.
package struct BenchmarkCounts: Codable, Sendable {
  package var speculative = DecodingStatistics()
  package var plain = DecodingStatistics()
  package var prompts = 0
  package var differing = 0
  /// The speedup of each prompt.
  package var speedups: [Double] = []
  package var byPrompt = PromptCounts()

  package init() {}

  package static func += (sum: inout BenchmarkCounts, other: BenchmarkCounts) {
    sum.speculative += other.speculative
    sum.plain += other.plain
    sum.prompts += other.prompts
    sum.differing += other.differing
    sum.speedups += other.speedups
    sum.byPrompt += other.byPrompt
  }
}
