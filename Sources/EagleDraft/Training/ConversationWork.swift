// R trained rows of a conversation.

/// A run of a conversation's trained rows, with the context that they see: what one rank works on.
package struct ConversationPart: Codable, Sendable, Hashable {
  /// Its number in the store.
  package let conversation: Int
  /// Indices of trained rows, within 0 ..< R; nil for all.
  package let rows: Range<Int>?
  /// Rows of the captured states that it needs, from the first; nil for all.
  package let states: Int?

  package init(_ conversation: Int, rows: Range<Int>, states: Int? = nil) {
    (self.conversation, self.rows, self.states) = (conversation, rows, states)
  }

  private init(_ conversation: Int) { (self.conversation, rows, states) = (conversation, nil, nil) }

  /// All trained rows of a conversation.
  package static func whole(_ conversation: Int) -> ConversationPart { ConversationPart(conversation) }
}

/// The trained rows of a conversation and what they cost, by which a batch is distributed over ranks.
///
/// Trained rows are those that an objective computes on their own: of depth 0 in EAGLE-3, anchors in block drafters.
/// Each sees the context before it, whose keys are computed once in a part. A part costs
/// ```
/// rows · perRow + (keys that its rows see) · perKey + (context rows up to its last row) · perContextRow
/// ```
/// operations. So two parts of one conversation cost more than the whole: the context before the second is computed
/// twice.
package struct ConversationWork: Sendable {
  /// Trained rows, R.
  package let rows: Int
  /// Positions of rows that may be trained, ascending: all of them or, where an epoch trains a sample, more than R.
  private let positions: [Range<Int>]
  private let all: Int
  package var perRow: Double
  package var perKey: Double
  package var perContextRow: Double
  /// The most keys that a row sees; nil for all before it.
  private let window: Int?

  /// - Parameters:
  ///   - positions: of rows that may be trained, ascending ranges
  ///   - rows: how many are trained; all when nil
  ///   - perRow: operations of a row that do not depend on its position
  ///   - perKey: operations of a row for each key that it sees
  ///   - perContextRow: operations of a context row
  ///   - window: the most keys that a row sees; nil for all before it
  package init(
    positions: [Range<Int>], rows: Int? = nil, perRow: Double, perKey: Double, perContextRow: Double,
    window: Int? = nil
  ) {
    self.positions = positions.filter { !$0.isEmpty }
    all = positions.reduce(0) { $0 + $1.count }
    self.rows = rows ?? all
    (self.perRow, self.perKey, self.perContextRow, self.window) = (perRow, perKey, perContextRow, window)
  }

  /// The position of a trained row; approximate in a sample.
  private func position(of row: Int) -> Int {
    var index = rows == all ? row : (2 * row + 1) * all / (2 * rows)
    for range in positions {
      if index < range.count { return range.lowerBound + index }
      index -= range.count
    }
    return positions.last?.upperBound ?? 0
  }

  /// The context rows that these trained rows need: those up to the last of them. Approximate in a sample.
  package func context(of part: Range<Int>) -> Int { part.isEmpty ? 0 : position(of: part.upperBound - 1) + 1 }

  /// Some of the trained rows.
  ///
  /// - Parameters:
  ///   - conversation: its number
  ///   - part: indices of the rows, at least one
  ///   - depths: the number of tokens after a row's own that are predicted from it
  ///   - length: tokens of the conversation
  package func part(_ conversation: Int, _ part: Range<Int>, depths: Int, length: Int) -> ConversationPart {
    if part.count == rows { return .whole(conversation) }
    let states = rows == all ? min(length, context(of: part) + depths) : nil
    return ConversationPart(conversation, rows: part, states: states)
  }

  /// Operations of a part.
  package func cost(_ part: Range<Int>) -> Double {
    guard !part.isEmpty else { return 0 }
    let seen = meanKeys(from: position(of: part.lowerBound), to: position(of: part.upperBound - 1))
    return Double(part.count) * (perRow + seen * perKey) + Double(context(of: part)) * perContextRow
  }

  /// The mean of the keys that rows at these positions and between them see: exact within a span.
  private func meanKeys(from first: Int, to last: Int) -> Double {
    guard let window, last >= window else { return Double(first + last + 2) / 2 }
    // Rows below the window see all keys before them, the others the window.
    let below = max(0, window - first)
    let keys = below * (first + 1 + window) / 2 + (last + 1 - first - below) * window
    return Double(keys) / Double(last + 1 - first)
  }
}
