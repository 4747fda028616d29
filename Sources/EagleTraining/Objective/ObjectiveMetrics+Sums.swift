import EagleRunFiles

extension ObjectiveMetrics {
  /// Sums of all K steps turned into what people read.
  ///
  /// - Parameters:
  ///   - sums: of all ranks, by step
  ///   - weights: decay^k
  ///   - leftOut: conversations that are not in the sums
  package init(_ sums: [StepSums], weights: [Double], leftOut: Int? = nil) {
    func mean(_ value: (StepSums) -> Double) -> [Double] { sums.map { $0.rows == 0 ? 0 : value($0) / $0.rows } }
    let losses = mean(\.loss)
    self.init(
      loss: zip(losses, weights).reduce(0) { $0 + $1.0 * $1.1 }, lossByPosition: losses, accuracy: mean(\.hits),
      acceptance: mean(\.overlap), leftOut: leftOut)
  }
}
