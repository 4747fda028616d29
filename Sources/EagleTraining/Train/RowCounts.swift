import EagleText
import Foundation

// K depths.

/// What the loss of each depth is divided by: trained rows of the conversations that a rank has had, or those of these
/// conversations that have any. 4 bytes a conversation and depth, once one is there.
final class RowCounts {
  private let depths: Int
  /// [conversations, K]; -1 where nothing is known.
  private var counts: [Int32] = []
  private let conversations: Int
  private let mean: LossMean

  init(conversations: Int, depths: Int, mean: LossMean) {
    (self.conversations, self.depths, self.mean) = (conversations, depths, mean)
  }

  /// Adds what a conversation counts to `rows`, K of them; `find` is called for them once.
  func add(_ conversation: Int, to rows: inout [Int64], _ find: () throws -> TrainedRows) rethrows {
    if counts.isEmpty { counts = [Int32](repeating: -1, count: conversations * depths) }
    let first = conversation * depths
    if counts[first] < 0 {
      let trained = try find()
      for k in 0..<depths { counts[first + k] = Int32(trained.count(depth: k)) }
    }
    for k in 0..<depths { rows[k] += Int64(mean == .tokens ? counts[first + k] : min(1, counts[first + k])) }
  }
}
