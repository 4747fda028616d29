import EagleText
import Foundation

// K depths.

/// Trained rows by depth of the conversations that a rank has had: 4 bytes a conversation and depth, once one is there.
final class RowCounts {
  private let depths: Int
  /// [conversations, K]; -1 where nothing is known.
  private var counts: [Int32] = []
  private let conversations: Int

  init(conversations: Int, depths: Int) {
    (self.conversations, self.depths) = (conversations, depths)
  }

  /// Adds the rows of a conversation to `rows`, K of them; `find` is called for them once.
  func add(_ conversation: Int, to rows: inout [Int64], _ find: () throws -> TrainedRows) rethrows {
    if counts.isEmpty { counts = [Int32](repeating: -1, count: conversations * depths) }
    let first = conversation * depths
    if counts[first] < 0 {
      let trained = try find()
      for k in 0..<depths { counts[first + k] = Int32(trained.count(depth: k)) }
    }
    for k in 0..<depths { rows[k] += Int64(counts[first + k]) }
  }
}
