import EagleRunFiles

/// A listener to the steps of a run. It is called on every rank, with the same values.
protocol StepObserver: AnyObject {
  /// A step has changed the weights.
  func didUpdate(_ metrics: StepMetrics) throws
  /// A step has changed nothing.
  func didSkip(_ step: SkippedStep) throws
  /// A head was evaluated.
  func didEvaluate(_ record: EvaluationRecord)
}

extension StepObserver {
  func didSkip(_: SkippedStep) throws {}
  func didEvaluate(_: EvaluationRecord) {}
}
