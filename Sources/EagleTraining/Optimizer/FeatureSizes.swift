import EagleCluster
import EagleStorage
import EagleTensor
import Foundation

/// How large the features are that `fc` reads, the three captured states.
///
/// AdamW moves every weight by about the learning rate, and a weight moves its output by that times its input. States of late layers are tens of
/// times those of early ones, and some of their columns hundreds of times: with one rate for all, either these tear the head
/// apart, or the others stand still. The rate of a column by 1 / rms is the same as training on features of variance
/// 1 and writing the scales into `fc` afterwards.
enum FeatureSizes {
  /// Rows that are looked at.
  private static let mostRows = 10_000

  /// 1 / rms of each feature over trained rows, the same on all ranks: [features]; 1 where there is no row to look at. Collective.
  ///
  /// - Parameters:
  ///   - features: 3H
  ///   - leftOut: told of each conversation whose states are not finite
  /// - Throws: when states cannot be read; `StoppedRun` when a stop was asked for
  static func rates(
    _ states: StateSource, features: Int, conversations: StateSample, cluster: any Communicator, stop: StopRequest,
    leftOut: (Int) -> Void
  ) throws -> Tensor {
    let rates = Tensor.filled([features], with: 1)
    if cluster.isRoot {
      do {
        let sizes = try measure(states, features: features, conversations, cluster, stop, leftOut)
        for (i, size) in sizes.enumerated() { rates.floats[i] = Float(1 / max(size, 1e-6)) }
      } catch is StoppedRun {}  // for all ranks to hear of, below
    }
    try stop.throwIfAnyRankStops(cluster, during: "train, before the first step")
    try cluster.broadcast(rates.rawBytes, root: 0)
    return rates
  }

  /// Root mean squares; none when no conversation has rows that are numbers.
  private static func measure(
    _ states: StateSource, features: Int, _ conversations: StateSample, _ cluster: any Communicator,
    _ stop: StopRequest, _ leftOut: (Int) -> Void
  ) throws -> [Double] {
    var (squares, count) = ([Double](repeating: 0, count: features), 0)
    try states.forEach(of: conversations, cluster: cluster, stop: stop) { number, conversation in
      let rows = TrainedRows(mask: conversation.lossMask, steps: 1).rows(step: 0).map(Int32.init)
      let values = Rows.gather(conversation.auxHidden, rows).values
      guard values.allSatisfy(\.isFinite) else {
        leftOut(number)
        return true
      }
      for (i, value) in values.enumerated() { squares[i % features] += Double(value) * Double(value) }
      count += rows.count
      return count < mostRows
    }
    return count == 0 ? [] : squares.map { ($0 / Double(count)).squareRoot() }
  }
}
