import EagleTensor

/// Gathers AdamW's moments of a sharded optimiser, bucket by bucket, for a checkpoint that rank 0 writes. No rank holds
/// more than one bucket of other ranks' moments.
///
/// Every rank traverses both moments in the order of the flat buffer: rank 0 with `read`, the others with `send`.
final class MomentBuckets: @unchecked Sendable {
  enum Moment: Int, CaseIterable { case first, second }

  private let optimizer: AdamW
  private let buckets: GradientBuckets
  /// The buckets in the order of the flat buffer.
  private let ranges: [Range<Int>]
  /// The current bucket: its index in the sequence of all, and its values.
  private var current: (number: Int, values: Tensor)?

  init(_ optimizer: AdamW, _ buckets: GradientBuckets) {
    (self.optimizer, self.buckets) = (optimizer, buckets)
    ranges = buckets.ranges.reversed()
  }

  /// Calls `body` with the values of a range of a moment, in parts. The calls must have ascending ranges, those of the
  /// first moment before those of the second, and cover everything. Collective.
  func read(_ moment: Moment, _ range: Range<Int>, _ body: (Tensor) throws -> Void) throws {
    for (index, bucket) in ranges.enumerated() where bucket.overlaps(range) {
      let values = try gathered(moment, index)
      let part = bucket.clamped(to: range)
      try body(values.slice(part.lowerBound - bucket.lowerBound..<part.upperBound - bucket.lowerBound))
    }
  }

  /// Sends this rank's moments; called on ranks that do not write. Collective.
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
    try buckets.allGather(bucket: values)
    current = (number, values)
    return values
  }
}
