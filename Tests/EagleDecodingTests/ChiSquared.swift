import Foundation

/// Pearson's test of counts against a distribution.
enum ChiSquared {
  /// Standard normal score of the statistic (Wilson and Hilferty 1931): above 4, the counts are not from that
  /// distribution, with an error probability of 3 in 100,000. Cells that expect fewer than 5 are merged.
  static func score(_ counts: [Int], _ probabilities: [Double]) -> Double {
    let total = Double(counts.reduce(0, +))
    var cells: [(seen: Double, expected: Double)] = []
    var rest = (seen: 0.0, expected: 0.0)
    for (count, p) in zip(counts, probabilities) {
      if p * total >= 5 {
        cells.append((Double(count), p * total))
      } else {
        rest = (rest.seen + Double(count), rest.expected + p * total)
      }
    }
    if rest.expected > 0 || rest.seen > 0 { cells.append((rest.seen, max(rest.expected, 1e-9))) }
    return normal(
      cells.reduce(0) { $0 + ($1.seen - $1.expected) * ($1.seen - $1.expected) / $1.expected }, cells.count - 1)
  }

  /// The same score for the question whether two samples are from one distribution.
  static func twoSampleScore(_ a: [Int], _ b: [Int]) -> Double {
    let (m, n) = (Double(a.reduce(0, +)), Double(b.reduce(0, +)))
    var cells: [(a: Double, b: Double)] = []
    var rest = (a: 0.0, b: 0.0)
    for (x, y) in zip(a, b) {
      if x + y >= 10 { cells.append((Double(x), Double(y))) } else { rest = (rest.a + Double(x), rest.b + Double(y)) }
    }
    if rest.a + rest.b > 0 { cells.append(rest) }
    let statistic = cells.reduce(0.0) { sum, cell in
      let difference = cell.a * (n / m).squareRoot() - cell.b * (m / n).squareRoot()
      return sum + difference * difference / (cell.a + cell.b)
    }
    return normal(statistic, cells.count - 1)
  }

  private static func normal(_ statistic: Double, _ freedom: Int) -> Double {
    guard freedom > 0 else { return 0 }
    let spread = 2 / (9 * Double(freedom))
    return (pow(statistic / Double(freedom), 1.0 / 3) - (1 - spread)) / spread.squareRoot()
  }
}
