/// Counts of durations, in the form of a Prometheus histogram.
package struct Histogram {
  /// Upper bounds in seconds; one more bucket counts all longer durations.
  package static let bounds = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250]

  private var counts = [Int](repeating: 0, count: bounds.count + 1)
  package private(set) var sum = 0.0

  package var count: Int { counts.reduce(0, +) }
  package var mean: Double { count == 0 ? 0 : sum / Double(count) }

  package init() {}

  package mutating func add(_ seconds: Double) {
    counts[Self.bounds.firstIndex { seconds <= $0 } ?? Self.bounds.count] += 1
    sum += seconds
  }

  /// The lines of the metric: each bucket counts all durations up to its bound.
  package func text(_ name: String) -> String {
    var (lines, total) = ("", 0)
    for (bound, count) in zip(Self.bounds.map { "\($0)" } + ["+Inf"], counts) {
      total += count
      lines += "\(name)_bucket{le=\"\(bound)\"} \(total)\n"
    }
    return lines + "\(name)_sum \(sum)\n\(name)_count \(total)\n"
  }
}
