/// The bytes of a text in which no special token is recognised.
struct OrdinaryRanges: Sendable {
  private var ranges: [Range<Int>] = []  // in order, apart from each other, none empty

  /// Unites `ranges` of a text of `count` bytes, which may come in any order.
  init(_ ranges: [Range<Int>], count: Int) {
    for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) where !range.isEmpty {
      precondition(
        range.lowerBound >= 0 && range.upperBound <= count, "the range \(range) is not in a text of \(count) bytes")
      if let last = self.ranges.last, range.lowerBound <= last.upperBound {
        self.ranges[self.ranges.count - 1] = last.lowerBound..<max(last.upperBound, range.upperBound)
      } else {
        self.ranges.append(range)
      }
    }
  }

  var isEmpty: Bool { ranges.isEmpty }

  /// Whether a byte of `range` is ordinary.
  func overlap(_ range: Range<Int>) -> Bool {
    var (low, high) = (0, ranges.count)
    while low < high {
      let middle = (low + high) / 2
      if ranges[middle].upperBound <= range.lowerBound { low = middle + 1 } else { high = middle }
    }
    return low < ranges.count && ranges[low].lowerBound < range.upperBound
  }
}
