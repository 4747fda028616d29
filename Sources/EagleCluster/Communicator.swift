import EagleCore
import Foundation

/// The ranks that work together on one run, and their collective operations.
///
/// Every call that names all ranks is collective: each rank makes the same calls in the same order, with buffers of the
/// same length. A call returns on one rank only after the others have made theirs.
public protocol Communicator: AnyObject, Sendable {
  /// The number of this process among all, 0..<`size`. Rank 0 writes what exists once: manifests, metrics, tables.
  var rank: Int { get }
  /// The number of processes of the run.
  var size: Int { get }
  /// The smallest rank on the node of each rank, [`size`]: ranks with the same number can share memory.
  var nodes: [Int] { get }
  /// The name and version of the library that connects the ranks.
  var library: String { get }

  /// Replaces every element by its sum over all ranks. All ranks hold the same bits afterwards.
  func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Float>) throws
  /// Replaces every element by its sum over all ranks, in double precision.
  func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Double>) throws
  /// Replaces every element by its sum over all ranks, in 64-bit integers.
  func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Int64>) throws

  /// Overwrites `bytes` on every rank by the bytes of `root`.
  func broadcast(_ bytes: UnsafeMutableRawBufferPointer, root: Int) throws

  /// Gives every rank the data of all, indexed by rank. Lengths may differ.
  func allGather(_ data: Data) throws -> [Data]

  /// Sends `data[r]` to rank r and returns what the ranks have sent to this one, indexed by rank. Lengths may differ.
  func allToAll(_ data: [Data]) throws -> [Data]

  /// Waits until every rank has made this call.
  func barrier() throws

  /// Starts to replace every element by its sum over all ranks, and returns at once.
  ///
  /// Elements are summed in fp32 in the order of ranks, in two levels in the order of ranks of a node and of nodes; all
  /// ranks hold the same bits afterwards.
  ///
  /// - Parameters:
  ///   - buffer: the addends of this rank, which the operation overwrites until it is done
  ///   - wire: the type of the elements on their way
  func startAllReduceSum(_ buffer: UnsafeMutableBufferPointer<Float>, wire: ComputePrecision) throws
    -> any PendingCollective

  /// Starts to replace the elements of this rank's `ownSlice` by their sums over all ranks, as `startAllReduceSum` adds
  /// them up, and returns at once. The other slices are undefined afterwards.
  func startReduceScatterSum(_ buffer: UnsafeMutableBufferPointer<Float>, wire: ComputePrecision) throws
    -> any PendingCollective

  /// Starts to give every rank the slices of all, each from the rank that it belongs to, and returns at once.
  func startAllGather(_ buffer: UnsafeMutableBufferPointer<Float>) throws -> any PendingCollective

  /// This rank's own slice of a buffer in `startReduceScatterSum` and `startAllGather`.
  func ownSlice(count: Int) -> Range<Int>

  /// Sets the levels in which the started collectives of later calls work. Collective, with nothing in flight.
  ///
  /// - Parameter levels: two levels need `canAverageInTwoLevels`
  func setAveragingLevels(_ levels: AveragingLevels) throws

  /// Returns the cost of the collectives that were started since the last call.
  func takeAveragingCost() -> AveragingCost

  /// A counter that all ranks share: each call gives the next number from 0 that no rank has had. Only making the
  /// counter is collective; a call waits for no other rank.
  func tickets() throws -> () throws -> Int

  /// Notes that this rank makes progress, for the watch over the ranks.
  func tick()

  /// Begins to watch the ranks, so that none waits forever for one that has died, hangs or cannot be reached. When a
  /// rank exceeds the limits, all ranks end, with its name on standard error. Collective.
  func watch(_ limits: RankLimits) throws

  /// Tells the other ranks that this one has failed, so that none waits for it.
  ///
  /// Under MPI this ends all processes of the job with status `code` and does not return. Alone it does nothing: the
  /// caller exits. Report what went wrong before the call.
  func abort(code: Int32)

  /// Leaves the cluster after the last collective call. Collective; later calls are no-ops.
  func finish() throws
}

extension Communicator {
  /// Whether this rank writes what exists once.
  public var isRoot: Bool { rank == 0 }
  /// Whether this rank writes what exists once on each node.
  public var isFirstOfNode: Bool { nodes[rank] == rank }
  /// The number of ranks on this node, which share its memory and disks.
  public var ranksOnNode: Int { nodes.count { $0 == nodes[rank] } }

  /// Whether there are several nodes with several ranks each, as many on all.
  public var canAverageInTwoLevels: Bool {
    let sizes = Set(Dictionary(grouping: nodes) { $0 }.values.map(\.count))
    return sizes.count == 1 && sizes.first! > 1 && sizes.first! < size
  }

  /// The slice of this rank among `size` slices of equal length to one element, in the order of ranks.
  public func ownSlice(count: Int) -> Range<Int> { Slices(count: count, ranks: size)[rank] }
  /// Ignores the levels, where a communicator has one way to average.
  public func setAveragingLevels(_ levels: AveragingLevels) throws {}

  /// The elementwise sum of `values` over all ranks.
  public func allReduceSum(_ values: [Float]) throws -> [Float] {
    var sums = values
    try sums.withUnsafeMutableBufferPointer { try allReduceSum($0) }
    return sums
  }

  /// The elementwise sum of `values` over all ranks, in double precision.
  public func allReduceSum(_ values: [Double]) throws -> [Double] {
    var sums = values
    try sums.withUnsafeMutableBufferPointer { try allReduceSum($0) }
    return sums
  }

  /// The elementwise sum of `values` over all ranks, in 64-bit integers.
  public func allReduceSum(_ values: [Int64]) throws -> [Int64] {
    var sums = values
    try sums.withUnsafeMutableBufferPointer { try allReduceSum($0) }
    return sums
  }

  /// The data of `root`, on every rank. What the other ranks pass in is ignored, its length too.
  public func broadcast(data: Data, root: Int = 0) throws -> Data {
    var count: [Int64] = [rank == root ? Int64(data.count) : 0]
    try count.withUnsafeMutableBytes { try broadcast($0, root: root) }
    var copy = rank == root ? data : Data(count: Int(count[0]))
    try copy.withUnsafeMutableBytes { try broadcast($0, root: root) }
    return copy
  }

  /// Whether `flag` is true on at least one rank. Every rank gets the same answer.
  public func anyTrue(_ flag: Bool) throws -> Bool {
    try allReduceSum([flag ? Int64(1) : 0])[0] > 0
  }
}
