/// Percentile intervals over prompts (Efron's bootstrap): the prompts of each benchmark are resampled with
/// replacement, and the statistic is computed anew.
package enum Bootstrap {
  package static let resamples = 1000

  /// The middle 95 % of a statistic over all resamples; nil where a benchmark has fewer than two prompts, whose
  /// resamples would all be alike.
  ///
  /// - Parameters:
  ///   - sizes: prompts of each benchmark
  ///   - statistic: its value for a resample, the indices of prompts by benchmark
  package static func interval(
    sizes: [Int], using random: inout some RandomNumberGenerator, _ statistic: ([[Int]]) -> Double
  ) -> Interval? {
    guard !sizes.isEmpty, sizes.allSatisfy({ $0 > 1 }) else { return nil }
    var values: [Double] = []
    for _ in 0..<resamples { values.append(statistic(resample(sizes, using: &random))) }
    values.sort()
    return Interval(low: quantile(0.025, of: values), high: quantile(0.975, of: values))
  }

  private static func resample(_ sizes: [Int], using random: inout some RandomNumberGenerator) -> [[Int]] {
    var sample: [[Int]] = []
    for size in sizes {
      // The high half of the product is uniform, and the same in every version of the standard library.
      var indices: [Int] = []
      for _ in 0..<size { indices.append(Int(random.next().multipliedFullWidth(by: UInt64(size)).high)) }
      sample.append(indices)
    }
    return sample
  }

  /// The quantile of ascending values, interpolated between neighbours.
  private static func quantile(_ share: Double, of values: [Double]) -> Double {
    let place = share * Double(values.count - 1)
    let lower = Int(place)
    let upper = min(lower + 1, values.count - 1)
    return values[lower] + (place - Double(lower)) * (values[upper] - values[lower])
  }
}
