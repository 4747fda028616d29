import EagleAutograd
import EagleCluster
import EagleCore
import EagleDraft
import EagleModels
import EagleTensor
import EagleText
import Foundation

/// The sizes of the features that the feature matrix reads, the captured states, normed where the head norms them.
///
/// AdamW moves every weight by about the learning rate, and a weight moves its output by that times its input. States
/// of late layers are tens of times those of early ones, and some of their columns hundreds of times: with one rate for
/// all, either these tear the head apart, or the others stand still. The rate of a column by 1 / rms is the same as
/// training on features of variance 1 and writing the scales into `fc` afterwards.
enum FeatureSizes {
  /// Rows of the sample, about.
  private static let mostRows = 10_000

  /// 1 / rms of each feature over trained rows, the same on all ranks: [n H_t]. Collective.
  ///
  /// - Parameters:
  ///   - sample: conversations to look at
  ///   - draft: the head before its first step
  ///   - cluster: the ranks
  ///   - leftOut: called with each conversation whose states are not finite
  /// - Throws: when states cannot be read, or none is finite; `StoppedRun` when a stop was requested
  static func rates(
    _ sample: StateSample, of draft: DraftModel, cluster: any Communicator, leftOut: (Int) -> Void
  ) throws -> Tensor {
    let rates = Tensor.filled([draft.shape.featureWidth], with: 1)
    let sizes = try sample.onRoot { try measure(sample, of: draft, leftOut) }
    for (i, size) in (sizes ?? []).enumerated() { rates.floats[i] = Float(1 / max(size, 1e-6)) }
    try cluster.broadcast(rates.rawBytes, root: 0)
    return rates
  }

  /// Root mean squares.
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
