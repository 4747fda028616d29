import EagleCore
import Foundation

/// A cluster of one: every collective call is the identity.
public final class SoloCommunicator: Communicator {
  public let rank = 0
  public let size = 1
  public let nodes = [0]
  public let library: String

  /// - Parameter library: what would connect more ranks
  public init(library: String = "none") { self.library = library }

  public func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Float>) {}
  public func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Double>) {}
  public func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Int64>) {}
  public func broadcast(_ bytes: UnsafeMutableRawBufferPointer, root: Int) {}
  public func gather(_ data: Data) -> [Data] { [data] }
  public func exchange(_ data: [Data]) -> [Data] { data }
  public func barrier() {}
  public func startSum(_ buffer: UnsafeMutableBufferPointer<Float>, wire: ComputePrecision, ownSliceOnly: Bool)
    -> any Pending
  {
    Completed()
  }
  public func startGather(_ buffer: UnsafeMutableBufferPointer<Float>) -> any Pending { Completed() }
  public func takeAveragingCost() -> AveragingCost { AveragingCost() }
  public func tickets() -> () throws -> Int {
    var next = 0
    return {
      defer { next += 1 }
      return next
    }
  }
  public func tick() {}
  public func watch(_ limits: RankLimits) {}
  public func abort(code: Int32) {}
  public func finish() {}
}
