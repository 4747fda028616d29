import EagleCore

/// The indices of the largest of many numbers.
enum TopK {
  private static let maxInserted = 256

  /// The indices of the k largest values, the largest first; of equal values the first.
  static func indices(_ k: Int, of values: UnsafeBufferPointer<Float>) -> [Int] {
    // Insertion costs k steps for each new candidate: for a large k, all values are sorted.
    if k > maxInserted { return Array(values.indices.sorted { (values[$0], $1) > (values[$1], $0) }.prefix(k)) }
    var best: [Int] = []  // sorted
    best.reserveCapacity(k + 1)
    guard k > 0 else { return best }
    var least = -Float.infinity
    for i in values.indices where best.count < k || values[i] > least {
      best.insert(i, at: best.partitioningIndex { values[$0] < values[i] })
      if best.count > k { best.removeLast() }
      least = values[best[best.count - 1]]
    }
    return best
  }
}
