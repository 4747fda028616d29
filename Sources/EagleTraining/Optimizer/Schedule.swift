import Foundation

/// Linear warm-up, then half a cosine down to 0.
package struct Schedule: Sendable, Equatable {
  package let peak: Double
  package let warmupSteps: Int
  package let totalSteps: Int

  package init(peak: Double, warmupRatio: Double, totalSteps: Int) {
    self.peak = peak
    self.totalSteps = totalSteps
    warmupSteps = Int((warmupRatio * Double(totalSteps)).rounded())
  }

  /// - Parameter step: from 1
  package func learningRate(step: Int) -> Double {
    if step <= warmupSteps { return peak * Double(step) / Double(warmupSteps) }
    let progress = Double(step - warmupSteps - 1) / Double(max(1, totalSteps - warmupSteps))
    return peak * 0.5 * (1 + cos(.pi * min(1, progress)))
  }
}
