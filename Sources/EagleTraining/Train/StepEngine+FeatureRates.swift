import EagleCluster

extension StepEngine {
  /// Finds the learning rates of features, where the settings ask for them and no checkpoint has brought them.
  /// Collective.
  ///
  /// - Parameters:
  ///   - stop: looked at between conversations
  ///   - leftOut: called with each conversation whose states are not finite
  func findFeatureRates(stop: StopRequest, leftOut: (Int) -> Void) throws {
    guard inputs.config.featureRates == .bySize && optimizer.featureRates == nil else { return }
    let sample = StateSample(
      inputs.trained, leftOut: inputs.leftOut, seed: inputs.config.seed, feed: feed, cluster: cluster, stop: stop)
    optimizer.featureRates = try FeatureSizes.rates(
      sample, of: optimizer.draft, cluster: cluster, leftOut: leftOut)
  }
}
