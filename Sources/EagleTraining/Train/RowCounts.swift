import EagleDraft
import Foundation

// K drafted positions.

/// What each conversation adds to the counts that losses are divided by, once it is known. 4 bytes a conversation and
/// position.
final class RowCounts {
  private let positions: Int
  /// [conversations, K]; -1 where nothing is known.
  private var counts: [Int32] = []
  private let conversations: Int

  init(conversations: Int, positions: Int) { (self.conversations, self.positions) = (conversations, positions) }

  /// Adds what a conversation counts to `rows`, K of them; `find` is called for them once.
  func add(_ conversation: Int, to rows: inout [Int64], _ find: () throws -> [Int]) rethrows {
    if counts.isEmpty { counts = [Int32](repeating: -1, count: conversations * positions) }
    let first = conversation * positions
    if counts[first] < 0 {
      for (k, count) in try find().enumerated() { counts[first + k] = Int32(count) }
    }
    for k in 0..<positions { rows[k] += Int64(counts[first + k]) }
  }

  /// Forgets all counts: other rows are trained from now on.
  func forget() { counts = [] }
}
