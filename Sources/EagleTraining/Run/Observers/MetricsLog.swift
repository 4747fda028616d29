import EagleCluster
import EagleRunFiles

/// `metrics.jsonl` of a run, which rank 0 writes: a line for each step.
final class MetricsLog: StepObserver {
  /// nil on other ranks.
  private let file: MetricsFile?

  init(output: String, cluster: any Communicator) {
    file = cluster.isRoot ? MetricsFile(path: RunFolder(output).metrics) : nil
  }

  /// Removes the lines of steps after `step`, which are repeated.
  func truncate(after step: Int) throws { try file?.truncate(after: step) }

  func didUpdate(_ metrics: StepMetrics) throws { try file?.append(metrics) }
  func didSkip(_ step: SkippedStep) throws { try file?.append(step) }
}
