import EagleTensor

/// AdamW's moments of a sharded optimiser, bucket by bucket: for a checkpoint, which rank 0 writes while the others
/// send what they have. No rank holds more than a bucket that is not its own.
///
/// Every rank goes through both moments in the order of the flat buffer, rank 0 by reading all of them, the others by
/// `send`.
final class MomentBuckets: @unchecked Sendable {
  enum Moment: Int, CaseIterable { case first, second }

  private let optimizer: AdamW
  private let buckets: GradientBuckets
  /// In the order of the flat buffer.
  private let ranges: [Range<Int>]
  /// The bucket at hand: the number in the order of all, and its numbers.
  private var current: (number: Int, values: Tensor)?

  init(_ optimizer: AdamW, _ buckets: GradientBuckets) {
    (self.optimizer, self.buckets) = (optimizer, buckets)
    ranges = buckets.ranges.reversed()
  }

  /// Calls `body` with the numbers of a range of a moment, in pieces. Ranges come in ascending order, the first
  /// moment's before the second's, and together they are all. Collective.
  func read(_ moment: Moment, _ range: Range<Int>, _ body: (Tensor) throws -> Void) throws {
    for (index, bucket) in ranges.enumerated() where bucket.overlaps(range) {
      let values = try gathered(moment, index)
      let part = bucket.clamped(to: range)
      try body(values.slice(part.lowerBound - bucket.lowerBound..<part.upperBound - bucket.lowerBound))
    }
  }

  /// What a rank that does not write does. Collective.
  func send() throws {
    for moment in Moment.allCases { for index in ranges.indices { _ = try gathered(moment, index) } }
  }

  private func gathered(_ moment: Moment, _ index: Int) throws -> Tensor {
    let number = moment.rawValue * ranges.count + index
    if let current, current.number == number { return current.values }
    let bucket = ranges[index]
    let values = Tensor([bucket.count])
    let own = moment == .first ? optimizer.firstMoment : optimizer.secondMoment
    optimizer.forEachOwned(in: bucket) { part, moments in
      Elementwise.copy(
        own.slice(moments),
        into: values.slice(part.lowerBound - bucket.lowerBound..<part.upperBound - bucket.lowerBound))
    }
    try buckets.gather(bucket: values)
    current = (number, values)
    return values
  }
}
