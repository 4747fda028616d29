// T tokens · K depths.

/// Which rows of one conversation are trained at each depth.
///
/// Row p at depth k takes token x[p+1+k] and predicts x[p+2+k]. It is trained when x[p+1] … x[p+2+k] all lie in one
/// assistant span [s, e): s ≤ p + 1 and p + 2 + k < e. So rows of depth k + 1 are among those of depth k.
package struct TrainedRows: Sendable, Equatable {
  /// Maximal runs of ones in the loss mask.
  package let spans: [Range<Int>]
  package let depths: Int  // K

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

  /// Rows trained at depth `k`, ascending.
  package func rows(depth k: Int) -> [Int] { spans.flatMap { Self.rows(of: $0, depth: k) } }

  /// Rows that carry loss at depth k.
  package func count(depth k: Int) -> Int { spans.reduce(0) { $0 + Self.rows(of: $1, depth: k).count } }

  /// Rows that must exist: up to the last trained one. Later rows are nobody's prefix.
  package var prefixCount: Int { rows(depth: 0).last.map { $0 + 1 } ?? 0 }

  package static func rows(of span: Range<Int>, depth k: Int) -> Range<Int> {
    let first = max(0, span.lowerBound - 1)
    return first..<max(first, span.upperBound - 2 - k)
  }
}
