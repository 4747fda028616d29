// T tokens · K steps.

/// Which rows of one conversation are trained at each step.
///
/// Row p at step k takes token x[p+1+k] and predicts x[p+2+k]. It is trained when x[p+1] … x[p+2+k] all lie in one
/// assistant span [s, e): s ≤ p + 1 and p + 2 + k < e. So rows of step k + 1 are among those of step k.
public struct TrainedRows: Sendable, Equatable {
  /// Maximal runs of ones in the loss mask.
  public let spans: [Range<Int>]
  public let steps: Int  // K

  /// - Parameters:
  ///   - mask: 1 where a token is trained, one byte a token
  ///   - steps: K
  public init(mask: [UInt8], steps: Int) {
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
    self.steps = steps
  }

  /// Rows trained at step `k`, ascending.
  public func rows(step k: Int) -> [Int] { spans.flatMap { Self.rows(of: $0, step: k) } }

  /// Rows that carry loss at step k.
  public func count(step k: Int) -> Int { spans.reduce(0) { $0 + Self.rows(of: $1, step: k).count } }

  /// Rows that must exist: up to the last trained one. Later rows are nobody's prefix.
  public var prefixCount: Int { rows(step: 0).last.map { $0 + 1 } ?? 0 }

  package static func rows(of span: Range<Int>, step k: Int) -> Range<Int> {
    let first = max(0, span.lowerBound - 1)
    return first..<max(first, span.upperBound - 2 - k)
  }
}
