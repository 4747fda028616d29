import EagleRunFiles

extension ObjectiveMetrics {
  /// The reported metrics, from the sums of all K depths.
  ///
  /// - Parameters:
  ///   - sums: of all ranks, by depth
  ///   - weights: decay^k
  ///   - leftOut: conversations that are not in the sums
  package init(_ sums: [PositionSums], weights: [Double], leftOut: Int? = nil) {
    func mean(_ value: (PositionSums) -> Double) -> [Double] { sums.map { $0.rows == 0 ? 0 : value($0) / $0.rows } }
    let losses = mean(\.loss)
    self.init(
      loss: zip(losses, weights).reduce(0) { $0 + $1.0 * $1.1 }, lossByPosition: losses, accuracy: mean(\.hits),
      acceptance: mean(\.overlap), leftOut: leftOut)
  }
}
