// K depths · p a position of the conversation, and the row there.

/// Consecutive rows of one conversation that are trained together, at all depths: rows of depth k are at positions of
/// rows of depth 0, so that a chunk needs only the prefix's keys and values from other chunks.
///
/// ```swift
/// let trained = TrainedRows(mask: mask, depths: 7)
/// for chunk in trained.chunks(of: 512) { print(chunk.rows, chunk.trainedPairs) }
/// ```
package struct RowChunk: Sendable, Equatable {
  /// The positions from the first trained row to the last one. Rows between two assistant spans are not trained.
  package let rows: Range<Int>
  /// Trained rows among them by depth, [K].
  package let trained: [Int]
  /// The sum of the keys that these rows attend to, by depth, [K]: p + 1 of the prefix and k of its own chain; with a
  /// window, at most that many.
  package let attended: [Int]

  /// Trained pairs of a row and a depth: what activations, and all products but attention's, are proportional to.
  package var trainedPairs: Int { trained.reduce(0, +) }

  package init(_ conversation: TrainedRows, rows: Range<Int>, window: Int? = nil) {
    self.rows = rows
    let byDepth = (0..<conversation.depths).map { conversation.rows(depth: $0, in: rows) }
    trained = byDepth.map(\.count)
    attended = byDepth.enumerated().map { k, rows in rows.reduce(0) { $0 + min($1 + 1 + k, window ?? .max) } }
  }
}

/// Consecutive rows of depth 0 of a conversation, at all depths.
package struct TrainedPart: Sendable {
  /// Those of the whole conversation.
  package let all: TrainedRows
  /// Positions of depth 0 in this part, ascending.
  private let rows: ArraySlice<Int>

  /// - Parameter part: indices of rows of depth 0; nil for all
  package init(_ all: TrainedRows, _ part: Range<Int>? = nil) {
    let rows = all.rows(depth: 0)
    precondition(part.map { $0.lowerBound >= 0 && $0.upperBound <= rows.count } ?? true, "part of \(rows.count) rows")
    (self.all, self.rows) = (all, rows[part ?? rows.indices])
  }

  /// From the first row of the part to its last one.
  package var positions: Range<Int> { rows.first.map { $0..<rows.last! + 1 } ?? 0..<0 }

  /// The rows that must exist: up to the last trained one. Later rows are in no row's prefix.
  package var prefixCount: Int { positions.upperBound }

  /// The fewest chunks of at most `limit` rows, equally long but for one row.
  package func chunks(of limit: Int) -> [RowChunk] {
    precondition(limit > 0, "chunks of \(limit) rows")
    let count = (rows.count + limit - 1) / limit
    return (0..<count).map { i in
      let (first, end) = (rows.count * i / count, rows.count * (i + 1) / count)
      return RowChunk(all, rows: rows[rows.startIndex + first]..<rows[rows.startIndex + end - 1] + 1)
    }
  }
}

extension TrainedRows {
  /// Positions whose teacher distribution is needed: p + 1 + k of every trained (p, k), ascending.
  package var teacherPositions: [Int] { teacherPositions(in: 0..<prefixCount) }

  /// All trained rows, cut into chunks as `TrainedPart.chunks`.
  package func chunks(of limit: Int) -> [RowChunk] { TrainedPart(self).chunks(of: limit) }

  /// Positions whose teacher distribution the rows in `range` need: p + 1 + k of every trained (p, k), ascending. A
  /// sample may need fewer.
  ///
  /// The rows a ..< b of a span's depth 0 that ends at u (its last row + 1) need a + 1 ... min(b - 1 + K, u).
  package func teacherPositions(in range: Range<Int>) -> [Int] {
    spans.flatMap { span -> Range<Int> in
      let all = Self.rows(of: span, depth: 0)
      let own = all.clamped(to: range)
      return own.isEmpty ? 0..<0 : own.lowerBound + 1..<min(own.upperBound - 1 + depths, all.upperBound) + 1
    }
  }
}
