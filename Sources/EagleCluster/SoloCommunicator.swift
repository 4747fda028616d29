import EagleCore
import Foundation

/// A cluster of one: every collective call is the identity.
public final class SoloCommunicator: Communicator {
  /// The only rank, 0.
  public let rank = 0
  /// The number of ranks, 1.
  public let size = 1
  /// The smallest rank on the only node, `[0]`.
  public let nodes = [0]
  /// The name of the library that would connect more ranks.
  public let library: String

  /// Creates a cluster of one process.
  ///
  /// - Parameter library: what would connect more ranks
  public init(library: String = "none") { self.library = library }

  /// Leaves the floats as they are: they are their sum over one rank.
  public func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Float>) {}
  /// Leaves the doubles as they are: they are their sum over one rank.
  public func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Double>) {}
  /// Leaves the integers as they are: they are their sum over one rank.
  public func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Int64>) {}
  /// Leaves the bytes as they are: the only rank is the root.
  public func broadcast(_ bytes: UnsafeMutableRawBufferPointer, root: Int) {}
  /// Returns the data of the only rank.
  public func allGather(_ data: Data) -> [Data] { [data] }
  /// Returns the data that the only rank sends to itself.
  public func allToAll(_ data: [Data]) -> [Data] { data }
  /// Returns at once, since there is no rank to wait for.
  public func barrier() {}
  /// Leaves the buffer as it is, and returns an operation that is done.
  public func startAllReduceSum(_ buffer: UnsafeMutableBufferPointer<Float>, wire: ComputePrecision)
    -> any PendingCollective
  {
    Completed()
  }
  /// Leaves the buffer as it is, and returns an operation that is done.
  public func startReduceScatterSum(_ buffer: UnsafeMutableBufferPointer<Float>, wire: ComputePrecision)
    -> any PendingCollective
  {
    Completed()
  }
  /// Leaves the buffer as it is, and returns an operation that is done.
  public func startAllGather(_ buffer: UnsafeMutableBufferPointer<Float>) -> any PendingCollective { Completed() }
  /// Returns a cost of 0 seconds and 0 bytes.
  public func takeAveragingCost() -> AveragingCost { AveragingCost() }
  /// A counter of this process: each call gives the next number from 0.
  public func tickets() -> () throws -> Int {
    var next = 0
    return {
      defer { next += 1 }
      return next
    }
  }
  /// Does nothing, since no rank watches this one.
  public func tick() {}
  /// Does nothing, since there is no other rank to watch.
  public func watch(_ limits: RankLimits) {}
  /// Does nothing, since there is no other rank to tell: the caller exits.
  public func abort(code: Int32) {}
  /// Does nothing, since there is no cluster to leave.
  public func finish() {}
}
