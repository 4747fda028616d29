import EagleAutograd
import EagleCluster
import EagleCore
import EagleDraft
import EagleModels
import EagleTensor
import EagleText
import Foundation

/// The sizes of the input features of the feature matrix: the captured states, normalised if the head normalises them.
///
/// AdamW moves every weight by about the learning rate, and a weight moves its output by that times its input. States
/// of late layers are tens of times those of early ones, and some of their columns hundreds of times: with one rate for
/// all columns, either the large ones make training diverge, or the small ones do not train. A rate of 1 / rms for a
/// column is equivalent to training on features of variance 1 and multiplying the scales into `fc` afterwards.
enum FeatureSizes {
  /// The approximate number of rows of the sample.
  private static let mostRows = 10_000

  /// 1 / rms of each feature over trained rows, the same on all ranks: [n H_t]. Collective.
  ///
  /// - Parameters:
  ///   - sample: the conversations that are read
  ///   - draft: the head before its first step
  ///   - cluster: the ranks
  ///   - leftOut: called with each conversation whose states are not finite
  /// - Throws: when states cannot be read, or no state is finite; `StoppedRun` when a stop was requested
  static func rates(
    _ sample: StateSample, of draft: DraftModel, cluster: any Communicator, leftOut: (Int) -> Void
  ) throws -> Tensor {
    let rates = Tensor.filled([draft.shape.featureWidth], with: 1)
    let sizes = try sample.onRoot { try measure(sample, of: draft, leftOut) }
    for (i, size) in (sizes ?? []).enumerated() { rates.floats[i] = Float(1 / max(size, 1e-6)) }
    try cluster.broadcast(rates.rawBytes, root: 0)
    return rates
  }

  /// The root mean square of each feature.
  private static func measure(
    _ sample: StateSample, of draft: DraftModel, _ leftOut: (Int) -> Void
  ) throws -> [Double] {
    let features = draft.shape.featureWidth
    var (squares, count) = ([Double](repeating: 0, count: features), 0)
    let tape = Tape(recording: false, precision: .fp32)
    try sample.visit { number, conversation in
      let rows = TrainedRows(mask: conversation.lossMask, depths: 1).rows(depth: 0).map(Int32.init)
      let values = draft.network.features(tape, Rows.gather(conversation.auxHidden, rows)).value.values
      guard values.allSatisfy(\.isFinite) else {
        leftOut(number)
        return true
      }
      for (i, value) in values.enumerated() { squares[i % features] += Double(value) * Double(value) }
      count += rows.count
      return count < mostRows
    }
    guard count > 0 else {
      throw LocatedError(
        path: "train.feature_rates", problem: "no sampled conversation has finite states",
        advice: "look at the data and the target, or set it to equal")
    }
    return squares.map { ($0 / Double(count)).squareRoot() }
  }
}
