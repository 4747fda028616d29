/// Detects degenerate repetition, which small models produce.
enum Repetition {
  private static let longestPeriod = 64
  private static let fewestTokens = 48

  /// Whether a sequence ends in at least four copies of one subsequence, which together have 48 tokens or more.
  static func endsInLoop(_ ids: some RandomAccessCollection<Int32>) -> Bool {
    let ids = Array(ids.suffix(4 * longestPeriod))
    return (1...longestPeriod).contains { period in
      let length = max(4 * period, fewestTokens)
      guard ids.count >= length else { return false }
      return (ids.count - length + period..<ids.count).allSatisfy { ids[$0] == ids[$0 - period] }
    }
  }
}
