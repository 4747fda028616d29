import EagleText
import Foundation

// K steps.

/// Trained rows by step of the conversations that a rank has had: 4 bytes a conversation and step, once one is there.
final class RowCounts {
  private let steps: Int
  /// [conversations, K]; -1 where nothing is known.
  private var counts: [Int32] = []
  private let conversations: Int

  init(conversations: Int, steps: Int) {
    (self.conversations, self.steps) = (conversations, steps)
  }

  /// Adds the rows of a conversation to `rows`, K of them; `find` is asked for them once.
  func add(_ conversation: Int, to rows: inout [Int64], _ find: () throws -> TrainedRows) rethrows {
    if counts.isEmpty { counts = [Int32](repeating: -1, count: conversations * steps) }
    let first = conversation * steps
    if counts[first] < 0 {
      let trained = try find()
      for k in 0..<steps { counts[first + k] = Int32(trained.count(step: k)) }
    }
    for k in 0..<steps { rows[k] += Int64(counts[first + k]) }
  }
}
