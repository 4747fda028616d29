extension RandomAccessCollection {
  /// The first index from which on `isAfter` holds, which once true stays true; `endIndex` where it never holds. Takes
  /// O(log n) calls.
  ///
  /// ```swift
  /// let starts = [0, 10, 25]
  /// starts.partitioningIndex { $0 > 12 } - 1  // 1, the last range that starts at or before 12
  /// ```
  @inlinable
  package func partitioningIndex(where isAfter: (Element) throws -> Bool) rethrows -> Index {
    var (low, left) = (startIndex, count)
    while left > 0 {
      let half = left / 2
      let middle = index(low, offsetBy: half)
      if try isAfter(self[middle]) {
        left = half
      } else {
        low = index(after: middle)
        left -= half + 1
      }
    }
    return low
  }
}
