import EagleRunFiles
import EagleTensor
import Foundation
import Testing

@Suite struct BootstrapTests {
  private func counts(_ prompts: [(tokens: Int, passes: Int)]) -> PromptCounts {
    MeasuredPrompts.result(prompts).byPrompt!
  }

  private func interval(_ prompts: [(tokens: Int, passes: Int)], seed: UInt64 = 0) -> Interval? {
    var random = RandomSource(seed: seed)
    return counts(prompts).accLengthInterval(using: &random)
  }

  @Test("a resample's acc_length is the sum of tokens over the sum of passes")
  func ratioOfSums() throws {
    // Of two prompts a resample has the first twice, the second twice, or both: 3, 1 and 32/12.
    #expect(counts([(30, 10), (2, 2)]).accLength(of: [0, 1]) == 32.0 / 12)
    #expect(interval([(30, 10), (2, 2)]) == Interval(low: 1, high: 3))
    #expect(interval([(30, 10), (60, 20), (3, 1)]) == Interval(low: 3, high: 3))
    #expect(counts([(0, 0), (0, 0)]).accLength(of: [0, 1]) == 1)
  }

  @Test("the same seed gives the same interval, another one a slightly different one")
  func seeds() throws {
    let prompts = (0..<40).map { (tokens: 40 + $0 * 7 % 30, passes: 20 + $0 % 5) }
    let first = try #require(interval(prompts))
    #expect(interval(prompts) == first && interval(prompts, seed: 1) != first)
    let other = try #require(interval(prompts, seed: 1))
    // because: the ends from 1000 resamples vary by a few hundredths of the interval's width
    #expect(abs(other.low - first.low) < 0.2 * (first.high - first.low))
  }

  /// Prompts that differ in how well they are drafted, and in their length: 2.5 tokens a pass in the mean.
  private func drawn(_ count: Int, using random: inout RandomSource) -> [(tokens: Int, passes: Int)] {
    (0..<count).map { _ in
      let (passes, level) = (Int.random(in: 10...60, using: &random), Double.random(in: 1...2, using: &random))
      let tokens = (0..<passes).reduce(0.0) { sum, _ in
        sum + level + Double.random(in: 0...2, using: &random)
      }
      return (tokens: Int(tokens), passes: passes)
    }
  }

  @Test(
    "intervals hold the true value about as often as they say, and less often over few prompts",
    arguments: [(5, 318...348), (10, 344...374), (20, 355...385), (40, 355...395)])
  func coverage(prompts: Int, expected: ClosedRange<Int>) throws {
    var random = RandomSource(seed: 7)
    let all = counts(drawn(20_000, using: &random))
    let truth = all.accLength(of: Array(0..<20_000))
    var held = 0
    for _ in 0..<400 {
      let found = try #require(interval(drawn(prompts, using: &random)))
      if found.low <= truth, found.high >= truth { held += 1 }
    }
    // because: 333, 359, 370 and 368 were seen, with a deviation of 5 to 8; 380 would be 95 %
    #expect(expected.contains(held), "\(prompts) prompts: \(held) of 400")
  }

  @Test("a single prompt has no interval, and neither has a mean with one")
  func tooFew() {
    #expect(interval([(30, 10)]) == nil)
    var random = RandomSource(seed: 0)
    let benchmarks = [counts([(30, 10), (20, 10)]), counts([(30, 10)])]
    #expect(PromptCounts.meanAccLengthInterval(benchmarks, using: &random) == nil)
    #expect(PromptCounts.meanAccLengthInterval([], using: &random) == nil)
  }

  @Test("the mean of benchmarks is resampled within each")
  func means() {
    var random = RandomSource(seed: 0)
    let steady = [counts([(30, 10), (30, 10)]), counts([(10, 10), (10, 10)])]
    #expect(PromptCounts.meanAccLengthInterval(steady, using: &random) == Interval(low: 2, high: 2))
  }

  @Test("the speedup's interval follows from the seconds of each prompt")
  func speedups() throws {
    let counts = counts([(30, 10), (60, 20)])
    var random = RandomSource(seed: 0)
    #expect(counts.speedup(of: [0, 1]) == 3)
    #expect(try #require(counts.speedupInterval(using: &random)) == Interval(low: 3, high: 3))
  }

  @Test("counts of different lengths are no counts") func brokenCounts() {
    let text = #"{"tokens":[1,2],"passes":[1],"seconds":[1,1],"plain_tokens":[1,2],"plain_seconds":[1,1]}"#
    #expect(throws: DecodingError.self) { try JSONDecoder().decode(PromptCounts.self, from: Data(text.utf8)) }
  }

  @Test("what decoding keeps at a position counts among the rounds that kept all before") func conditional() {
    var statistics = DecodingStatistics()
    (statistics.proposed, statistics.accepted) = ([100, 100, 90], [60, 30, 15])
    #expect(statistics.conditionalAcceptance == [0.6, 0.5, 0.5])
    #expect(DecodingStatistics().conditionalAcceptance == [])
  }
}
