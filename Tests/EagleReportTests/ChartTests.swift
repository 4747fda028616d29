import EagleReport
import Testing

@Suite struct ChartTests {
  @Test("short curves keep all points")
  func shortCurvesStayAsTheyAre() {
    let points = (0..<5).map { Point(x: Double($0), y: Double($0 * $0)) }
    #expect(Thinning.thinned(points) == points)
    #expect(Thinning.buckets([]).isEmpty)
  }

  /// Extremes and the mean are preserved, and no bucket is empty.
  @Test("long curves become buckets that cover all points", arguments: [1001, 4000, 12_345])
  func longCurvesBecomeBuckets(count: Int) {
    let points = (0..<count).map { Point(x: Double($0), y: Double($0 * 7919 % 1000)) }
    let buckets = Thinning.buckets(points)
    #expect(buckets.count == Thinning.mostPoints)
    #expect(buckets.map(\.high).max() == points.map(\.y).max() && buckets.map(\.low).min() == points.map(\.y).min())
    #expect(buckets.allSatisfy { $0.low <= $0.mean && $0.mean <= $0.high })
    #expect(zip(buckets, buckets.dropFirst()).allSatisfy { $0.x < $1.x })
    let mean = points.reduce(0) { $0 + $1.y } / Double(count)
    let thinned = buckets.reduce(0) { $0 + $1.mean } / Double(buckets.count)
    // because: buckets differ by one point in size
    #expect(abs(mean - thinned) < 0.01 * mean)
  }

  @Test("a running mean takes the points before")
  func aRunningMeanLooksBack() {
    let points = [2.0, 4, 6, 8].enumerated().map { Point(x: Double($0), y: $1) }
    #expect(Thinning.runningMean(points, window: 2).map(\.y) == [2, 3, 5, 7])
    #expect(Thinning.runningMean(points, window: 1) == points)
  }

  @Test("marks of an axis are round numbers") func marksAreRoundNumbers() {
    #expect(Axis([8.67, 20.24]).ticks == [5, 10, 15, 20, 25])
    #expect(Axis([0, 1363], marks: 6, isTight: true).ticks == [0, 500, 1000])
    let shares = Axis([0.12, 0.49])
    #expect(shares.ticks.map(shares.label) == ["0.1", "0.2", "0.3", "0.4", "0.5"])
    let rates = Axis([0, 1e-4])
    #expect(rates.ticks.map(rates.label) == ["0", "2e−5", "4e−5", "6e−5", "8e−5", "1e−4"])
    let steps = Axis([0, 60_000])
    #expect(steps.ticks.map(steps.label) == ["0", "20k", "40k", "60k"])
    let norms = Axis([0.2, 900], isLogarithmic: true)
    #expect(norms.ticks.map(norms.label) == ["0.1", "1", "10", "100", "1000"])
    #expect(norms.position(10) == 0.5)
  }

  /// One value, equal values and none must not divide by zero.
  @Test(
    "empty, equal and non-finite values have an axis, too",
    arguments: [[], [3.0], [0, 0], [-2, -2], [.nan, .infinity]])
  func strangeRangesHaveAnAxis(values: [Double]) {
    let axis = Axis(values)
    #expect(axis.low < axis.high && axis.low.isFinite && axis.high.isFinite && axis.ticks.count >= 2)
    for value in values where value.isFinite { #expect((0...1).contains(axis.position(value))) }
    let logarithmic = Axis(values, isLogarithmic: true)
    #expect(logarithmic.position(3).isFinite)
  }

  @Test("text is escaped for HTML, and control characters are replaced") func textIsEscaped() {
    let escaped = HTML.escape("<a href=\"x\">'&'</a>\u{1}")
    #expect(escaped == "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;\u{fffd}")
    #expect(HTML.escape("日本語 é\n") == "日本語 é\n")
  }
}
