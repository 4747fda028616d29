import Foundation

/// The range of a chart's axis, and round numbers to mark on it.
package struct Axis {
  package let low: Double
  package let high: Double
  package let ticks: [Double]
  let isLogarithmic: Bool

  /// - Parameters:
  ///   - values: the values that must fit; non-finite ones, and those not above 0 on a logarithmic axis, are ignored
  ///   - isTight: whether the axis ends at the last value instead of a mark; its marks are integers, for step numbers
  package init(_ values: some Sequence<Double>, marks: Int = 5, isLogarithmic: Bool = false, isTight: Bool = false) {
    let usable = values.filter { $0.isFinite && (!isLogarithmic || $0 > 0) }
    let (least, most) = (usable.min() ?? 0, usable.max() ?? 1)
    self.isLogarithmic = isLogarithmic && least > 0
    if self.isLogarithmic {
      let lowest = Int(floor(log10(least) + 1e-9))
      let exponents = lowest...max(lowest + 1, Int(ceil(log10(most) - 1e-9)))
      let stride = max(1, (exponents.count + marks - 1) / marks)
      ticks = exponents.filter { ($0 - exponents.lowerBound) % stride == 0 }.map { pow(10, Double($0)) }
      (low, high) = (min(pow(10, Double(lowest)), least), max(pow(10, Double(exponents.upperBound)), most))
      return
    }
    let range = most > least ? most - least : max(abs(most), 1) * 0.1
    let step = max(Self.roundStep(range / Double(marks)), isTight ? 1 : 0)
    // A value that equals a mark up to rounding needs no further mark.
    let (first, last) = ((least / step + 1e-9).rounded(.down), (most / step - 1e-9).rounded(.up))
    let all = Swift.stride(from: first, through: max(last, first + 1), by: 1).map { $0 * step }
    if isTight, most > least {
      (low, high) = (least, most)
      ticks = all.filter { $0 >= least && $0 <= most }
    } else {
      (low, high) = (all.first!, all.last!)
      ticks = all
    }
  }

  /// 1, 2 or 5 times a power of ten, at least as large as the value.
  package static func roundStep(_ value: Double) -> Double {
    let power = pow(10, floor(log10(value)))
    let factor = [1.0, 2, 5, 10].first { $0 * power >= value * 0.999_999 } ?? 10
    return factor * power
  }

  /// The position of a value, from 0 at the low end to 1 at the high one.
  package func position(_ value: Double) -> Double {
    guard isLogarithmic else { return (value - low) / (high - low) }
    return log(max(value, low) / low) / log(high / low)
  }

  /// A mark's text, with enough digits to distinguish it from its neighbours.
  package func label(_ tick: Double) -> String {
    if tick == 0 { return "0" }
    if isLogarithmic || abs(tick) < 1e-3 { return Self.short(tick) }
    let step = ticks.count > 1 ? ticks[1] - ticks[0] : abs(tick)
    if abs(tick) >= 10_000, step >= 100 {
      let digits = step >= 1000 ? 0 : 1
      return String(format: "%.\(digits)fk", tick / 1000)
    }
    let digits = max(0, Int(ceil(-log10(step) - 1e-9)))
    return String(format: "%.\(digits)f", tick).replacingOccurrences(of: "-", with: "−")
  }

  /// A number in its shortest form: 1000, 10k, 0.01, 1e−4, 2.5e−5.
  private static func short(_ value: Double) -> String {
    if value >= 10_000, value < 1_000_000 { return String(format: "%gk", value / 1000) }
    if value >= 0.01, value < 10_000 { return String(format: "%g", value) }
    let exponent = Int(floor(log10(abs(value)) + 1e-9))
    let factor = String(format: "%g", value / pow(10, Double(exponent)))
    return "\(factor)e\(exponent)".replacingOccurrences(of: "-", with: "−")
  }
}
