import CEagleKernels
import EagleCore

extension ComputePrecision {
  /// Bytes of an element on the wire, when ranks add gradients up. With bf16 every rank's part is rounded once, added
  /// up in fp32, and the sum rounded once.
  package var bytes: Int { self == .fp32 ? 4 : 2 }
}

/// The levels in which ranks average gradients.
public enum AveragingLevels: String, Codable, Sendable {
  /// One level: all ranks send their parts to each other.
  case flat
  /// Two levels: the ranks of a node first, then one of each node. Every node sends its sum once.
  case twoLevel = "two-level"
}

/// A collective operation that runs while its caller computes.
public protocol PendingCollective: Sendable {
  /// Waits until the operation is done. Its buffer must be left alone until then.
  func wait() throws
}

/// An operation that was complete when it was started.
package struct Completed: PendingCollective {

  package init() {}
  package func wait() {}
}

/// The cost of all-reduces, reduce-scatters and all-gathers to this rank: seconds and bytes sent.
public struct AveragingCost: Sendable, Equatable {
  /// Time in which at least one was in flight.
  package var seconds = 0.0
  package var bytesSent = 0

  package init(seconds: Double = 0, bytesSent: Int = 0) {
    self.seconds = seconds
    self.bytesSent = bytesSent
  }
}

/// The partition of a buffer into one slice for each rank, which reduces its slice for all: the layout of
/// reduce-scatter and all-gather.
package struct Slices: Sendable, Equatable {
  package let count: Int
  package let ranks: Int

  package init(count: Int, ranks: Int) {
    self.count = count
    self.ranks = ranks
  }

  /// Elements of a rank's slice. Slices are of equal length to one element, in the order of ranks.
  package subscript(rank: Int) -> Range<Int> { count * rank / ranks..<count * (rank + 1) / ranks }
}

/// Float kernels on raw memory.
package enum Wire {
  package static func narrow(_ floats: UnsafePointer<Float>, _ halves: UnsafeMutablePointer<UInt16>, _ count: Int) {
    eagle_f32_to_bf16(floats, halves, Int64(count))
  }

  package static func widen(_ halves: UnsafePointer<UInt16>, _ floats: UnsafeMutablePointer<Float>, _ count: Int) {
    eagle_bf16_to_f32(halves, floats, Int64(count))
  }

  package static func add(_ floats: UnsafePointer<Float>, to sum: UnsafeMutablePointer<Float>, _ count: Int) {
    eagle_accumulate(floats, sum, Int64(count))
  }

  /// Rounds elements to bfloat16 in place.
  package static func round(_ floats: UnsafeMutableBufferPointer<Float>) {
    guard let base = floats.baseAddress else { return }
    let halves = UnsafeMutablePointer<UInt16>.allocate(capacity: floats.count)
    defer { halves.deallocate() }
    narrow(base, halves, floats.count)
    widen(halves, base, floats.count)
  }
}
