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
  /// Number of this process among those on the same node, 0..<`localSize`.
  var localRank: Int { get }
  /// How many ranks share this node, and so its cores.
  var localSize: Int { get }

  /// Replaces every element by its sum over all ranks. All ranks hold the same bits afterwards.
  func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Float>) throws
  func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Double>) throws
  func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Int64>) throws

  /// Overwrites `bytes` on every rank by those of `root`.
  func broadcast(_ bytes: UnsafeMutableRawBufferPointer, root: Int) throws

  /// Gives every rank the data of all, indexed by rank. Lengths may differ.
  func gather(_ data: Data) throws -> [Data]

  /// Waits until every rank is here.
  func barrier() throws

  /// Tells the other ranks that this one has failed, so that none waits for it for ever.
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
