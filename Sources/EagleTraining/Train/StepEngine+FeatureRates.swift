import EagleCluster

extension StepEngine {
  /// Computes the learning rates of features, if the settings require them and no checkpoint contains them. Collective.
  ///
  /// - Parameters:
  ///   - stop: checked between conversations
  ///   - leftOut: called with each conversation whose states are not finite
  func findFeatureRates(stop: StopRequest, leftOut: (Int) -> Void) throws {
    guard inputs.config.featureRates == .bySize && optimizer.featureRates == nil else { return }
    let sample = StateSample(
      inputs.trained, leftOut: inputs.leftOut, seed: inputs.config.seed, feed: feed, cluster: cluster, stop: stop)
    optimizer.featureRates = try FeatureSizes.rates(
      sample, of: optimizer.draft, cluster: cluster, leftOut: leftOut)
  }
}
