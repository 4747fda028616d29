import EagleTensor

// T tokens · K depths.

/// Which rows of one conversation are trained at each depth.
///
/// Row p at depth k takes token x[p+1+k] and predicts x[p+2+k]. It is trained when x[p+1] … x[p+2+k] are all in one
/// assistant span [s, e): s ≤ p + 1 and p + 2 + k < e. So rows of depth k + 1 are among those of depth k. An epoch may
/// train only a share of them at each further depth (`sampled`).
package struct TrainedRows: Sendable, Equatable {
  /// Maximal runs of ones in the loss mask.
  package let spans: [Range<Int>]
  package let depths: Int  // K
  /// The depth at which each row ends in a sample, by position; nil where all rows go as deep as their span allows.
  private var deepest: [UInt16]?

  /// - Parameters:
  ///   - mask: 1 where a token is trained, one byte a token
  ///   - depths: K
  package init(mask: [UInt8], depths: Int) {
    var spans: [Range<Int>] = []
    var start: Int?
    for (position, flag) in mask.enumerated() {
      if flag != 0, start == nil { start = position }
      if flag == 0, let first = start {
        spans.append(first..<position)
        start = nil
      }
    }
    if let first = start { spans.append(first..<mask.count) }
    self.spans = spans
    self.depths = depths
  }

  /// A sample: all rows at depth 0; at each further depth, each row that the depth before trains and that the span
  /// allows is kept with the probability `share`. The seed, the conversation and the epoch determine it.
  package func sampled(share: Double, seed: UInt64, conversation: Int, epoch: Int) -> TrainedRows {
    guard share < 1, let length = spans.last?.upperBound else { return self }
    var random = RandomSource(seed: seed, purpose: "rows of conversation \(conversation), epoch \(epoch)")
    var deepest = [UInt16](repeating: 0, count: length)
    for k in 1..<max(1, depths) {
      for row in rows(depth: k) where deepest[row] == k - 1 && Double.random(in: 0..<1, using: &random) < share {
        deepest[row] = UInt16(k)
      }
    }
    var sample = self
    sample.deepest = deepest
    return sample
  }

  /// Rows trained at depth `k`, ascending.
  package func rows(depth k: Int) -> [Int] { rows(depth: k, in: 0..<Int.max) }

  /// Rows trained at depth `k` in `range`, ascending.
  package func rows(depth k: Int, in range: Range<Int>) -> [Int] {
    let all = spans.flatMap { Self.rows(of: $0, depth: k).clamped(to: range) }
    return deepest.map { deepest in all.filter { deepest[$0] >= k } } ?? all
  }

  /// Rows that carry loss at depth k.
  package func count(depth k: Int) -> Int {
    deepest == nil ? spans.reduce(0) { $0 + Self.rows(of: $1, depth: k).count } : rows(depth: k).count
  }

  /// The rows that must exist: up to the last trained one. Later rows are in no row's prefix.
  package var prefixCount: Int { rows(depth: 0).last.map { $0 + 1 } ?? 0 }

  /// Those of one span, without a sample.
  package static func rows(of span: Range<Int>, depth k: Int) -> Range<Int> {
    let first = max(0, span.lowerBound - 1)
    return first..<max(first, span.upperBound - 2 - k)
  }
}
