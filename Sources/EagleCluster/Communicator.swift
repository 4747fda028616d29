import EagleCore
import Foundation

/// The ranks that work together on one run, and what they say to each other.
///
/// Every call that names all ranks is collective: each rank makes the same calls in the same order, with buffers of the
/// same length. A call returns on one rank only after the others have made theirs.
public protocol Communicator: AnyObject, Sendable {
  /// Number of this process among all, 0..<`size`. Rank 0 writes what exists once: manifests, metrics, tables.
  var rank: Int { get }
  /// How many processes share the run.
  var size: Int { get }
  /// For each rank the smallest rank on its node: ranks with the same number can share memory.
  var nodes: [Int] { get }
  /// Name and version of the library that connects the ranks.
  var library: String { get }

  /// Replaces every element by its sum over all ranks. All ranks hold the same bits afterwards.
  func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Float>) throws
  func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Double>) throws
  func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Int64>) throws

  /// Overwrites `bytes` on every rank by those of `root`.
  func broadcast(_ bytes: UnsafeMutableRawBufferPointer, root: Int) throws

  /// Gives every rank the data of all, indexed by rank. Lengths may differ.
  func gather(_ data: Data) throws -> [Data]

  /// Sends `data[r]` to rank r and returns what the ranks have sent to this one, indexed by rank. Lengths may differ.
  func exchange(_ data: [Data]) throws -> [Data]

  /// Waits until every rank is here.
  func barrier() throws

  /// Starts to replace every element by its sum over all ranks and returns at once.
  ///
  /// Parts are added up in fp32 in the order of ranks; all ranks hold the same bits afterwards. `ownSliceOnly` leaves each rank
  /// with the sums of its slice alone (see `Slices`); what the rest of the buffer holds then is undefined.
  func startSum(_ buffer: UnsafeMutableBufferPointer<Float>, wire: ComputePrecision, ownSliceOnly: Bool) throws
    -> any Pending

  /// Starts to give every rank the slices of all, each from the rank that it belongs to, and returns at once.
  func startGather(_ buffer: UnsafeMutableBufferPointer<Float>) throws -> any Pending

  /// What sums and gathers that were started have cost since the last call.
  func takeAveragingCost() -> AveragingCost

  /// A counter that all ranks draw from: each call gives the next number from 0 that no rank has had. Only making it is
  /// collective: a rank draws when it likes, and waits for nobody.
  func tickets() throws -> () throws -> Int

  /// Notes that this rank is getting on with its work, for those who watch it.
  func tick()

  /// From now on no rank waits for ever for another that has died, hangs or cannot be reached: when one exceeds the
  /// limits, all end with its name on standard error. Collective.
  func watch(_ limits: RankLimits) throws

  /// Tells the other ranks that this one has failed, so that none waits for it.
  ///
  /// Under MPI this ends all processes of the job with status `code` and does not return. Alone it does nothing: the
  /// caller exits. Say what went wrong before.
  func abort(code: Int32)

  /// Leaves the cluster after the last collective call. Collective; later calls are no-ops.
  func finish() throws
}

extension Communicator {
  /// Whether this rank writes what exists once.
  public var isRoot: Bool { rank == 0 }
  /// Whether this rank writes what exists once on each node.
  public var isFirstOfNode: Bool { nodes[rank] == rank }
  /// How many ranks share this node, and so its memory and disks.
  public var ranksOnNode: Int { nodes.count { $0 == nodes[rank] } }

  /// The elementwise sum of `values` over all ranks.
  public func allReduceSum(_ values: [Float]) throws -> [Float] {
    var sums = values
    try sums.withUnsafeMutableBufferPointer { try allReduceSum($0) }
    return sums
  }

  public func allReduceSum(_ values: [Double]) throws -> [Double] {
    var sums = values
    try sums.withUnsafeMutableBufferPointer { try allReduceSum($0) }
    return sums
  }

  public func allReduceSum(_ values: [Int64]) throws -> [Int64] {
    var sums = values
    try sums.withUnsafeMutableBufferPointer { try allReduceSum($0) }
    return sums
  }

  /// The data of `root`, on every rank. What the other ranks pass in is not looked at, not even its length.
  public func broadcast(data: Data, root: Int = 0) throws -> Data {
    var count: [Int64] = [rank == root ? Int64(data.count) : 0]
    try count.withUnsafeMutableBytes { try broadcast($0, root: root) }
    var copy = rank == root ? data : Data(count: Int(count[0]))
    try copy.withUnsafeMutableBytes { try broadcast($0, root: root) }
    return copy
  }

  /// Whether at least one rank says yes. Every rank gets the same answer.
  public func anyTrue(_ flag: Bool) throws -> Bool {
    try allReduceSum([flag ? Int64(1) : 0])[0] > 0
  }
}
