import EagleCore
import EagleRunFiles
import Foundation

/// The progress line of training.
package final class ProgressLine: StepObserver {
  private let progress: any ProgressSink
  private let totalSteps: Int
  /// Mean acc_length of the last evaluation; nil without benchmarks.
  private var accLength: Double?

  init(_ progress: any ProgressSink, totalSteps: Int) { (self.progress, self.totalSteps) = (progress, totalSteps) }

  package func didEvaluate(_ record: EvaluationRecord) {
    accLength = record.benchmarks.isEmpty ? nil : record.meanAccLength
  }

  func didUpdate(_ metrics: StepMetrics) {
    var parts = [String(format: "epoch %d, loss %.3f, accuracy %.3f", metrics.epoch, metrics.loss, metrics.accuracy[0])]
    if let accLength { parts.append(String(format: "acc_length %.2f", accLength)) }
    parts.append(String(format: "%.0f tokens/s", metrics.tokensPerSecond))
    parts +=
      metrics.communication?.complaints(stepSeconds: Double(metrics.tokens) / metrics.tokensPerSecond) ?? []
    progress.advance(
      "train", done: metrics.step, total: totalSteps, unit: "steps", note: parts.joined(separator: ", "))
  }
}
