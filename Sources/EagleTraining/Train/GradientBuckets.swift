import EagleAutograd
import EagleCluster
import EagleCore
import EagleTensor

/// Reduces the gradients of all ranks, bucket by bucket, overlapped with the backward pass.
///
/// Buckets are ranges of the flat gradient buffer. Their reductions start in a fixed order, from the buffer's end to
/// its start: first those of the LM head, whose gradients are final before the rest of the backward pass and are a
/// third of all. Every rank therefore makes the same calls in the same order, for any part of the batch.
package final class GradientBuckets {
  /// The maximum number of elements of a bucket: 16 MiB, enough for the full bandwidth of a link.
  package static let elements = 4 << 20

  /// Ranges of the flat buffer, in the order in which they start.
  package let ranges: [Range<Int>]
  private let gradients: Tensor  // [P]
  private let cluster: any Communicator
  private let wire: ComputePrecision
  private let isSharded: Bool
  /// The parameters in each bucket.
  private let members: [Set<ObjectIdentifier>]
  private var open: [Set<ObjectIdentifier>] = []
  private var pending: [any PendingCollective] = []

  /// - Parameters:
  ///   - slices: the range of each parameter's gradient, in the order of the buffer
  ///   - isSharded: whether each rank needs only the sums of its own slices
  package init(
    _ gradients: Tensor, slices: [(variable: Variable, range: Range<Int>)], cluster: any Communicator,
    wire: ComputePrecision, isSharded: Bool
  ) {
    self.gradients = gradients
    self.cluster = cluster
    self.wire = wire
    self.isSharded = isSharded
    let ranges = Self.group(slices.map(\.range))
    self.ranges = ranges
    members = ranges.map { bucket in
      Set(slices.filter { $0.range.overlaps(bucket) }.map { ObjectIdentifier($0.variable) })
    }
  }

  /// Small parameters share a bucket, large ones have several.
  private static func group(_ parameters: [Range<Int>]) -> [Range<Int>] {
    var result: [Range<Int>] = []
    var current: Range<Int>?
    for range in parameters.reversed() {
      if let open = current, open.count + range.count <= elements {
        current = range.lowerBound..<open.upperBound
        continue
      }
      if let open = current { result.append(open) }
      current = nil
      if range.count <= elements { current = range } else { result += cut(range).reversed() }
    }
    return result + [current].compactMap { $0 }
  }

  /// The range in parts of equal length, each at most a bucket.
  package static func cut(_ range: Range<Int>) -> [Range<Int>] {
    let parts = max(1, (range.count + elements - 1) / elements)
    return (0..<parts).map {
      range.lowerBound + range.count * $0 / parts..<range.lowerBound + range.count * ($0 + 1) / parts
    }
  }

  /// Slices of the flat buffer that this rank reduces, and updates when the optimiser is sharded (ZeRO-1); in the order
  /// of the buffer.
  package var ownRanges: [Range<Int>] {
    ranges.reversed().map { bucket in
      let slice = cluster.ownSlice(count: bucket.count)
      return bucket.lowerBound + slice.lowerBound..<bucket.lowerBound + slice.upperBound
    }
  }

  /// Begins a new step, in which no gradient is final yet.
  package func begin() {
    open = members
    pending = []
  }

  /// Declares that this parameter's gradient is final in this step.
  package func isFinal(_ variable: Variable) throws {
    for bucket in open.indices { open[bucket].remove(ObjectIdentifier(variable)) }
    while pending.count < ranges.count, open[pending.count].isEmpty { try startNext() }
  }

  /// Declares that all gradients are final.
  package func allAreFinal() throws {
    while pending.count < ranges.count { try startNext() }
  }

  private func startNext() throws {
    let buffer = Self.buffer(gradients, ranges[pending.count])
    pending.append(
      try isSharded
        ? cluster.startReduceScatterSum(buffer, wire: wire) : cluster.startAllReduceSum(buffer, wire: wire))
  }

  /// Returns once all reductions are complete.
  package func wait() throws {
    for sum in pending { try sum.wait() }
  }

  /// All-gather of a buffer of which each rank has its own slices; returns once all slices have arrived.
  package func allGather(_ flat: Tensor, meanwhile: () throws -> Void = {}) throws {
    let pending = try ranges.map { try cluster.startAllGather(Self.buffer(flat, $0)) }
    try meanwhile()
    for gather in pending { try gather.wait() }
  }

  /// All-gather of the values of one bucket, of which each rank has its own slice.
  func allGather(bucket: Tensor) throws { try cluster.startAllGather(Self.buffer(bucket, 0..<bucket.count)).wait() }

  package static func buffer(_ flat: Tensor, _ range: Range<Int>) -> UnsafeMutableBufferPointer<Float> {
    UnsafeMutableBufferPointer(start: flat.floats + range.lowerBound, count: range.count)
  }
}
