import CMPI
import Foundation

/// The ranks of an MPI job.
///
/// Calls may come from any thread, one at a time: a lock keeps MPI's "serialized" promise.
public final class MPICommunicator: Communicator, @unchecked Sendable {
  public let rank: Int
  public let size: Int
  public let localRank: Int
  public let localSize: Int

  private let world: MPI_Comm?
  private let lock = NSLock()
  private var isFinished = false

  /// Elements that one MPI call moves, 16 MiB of floats.
  ///
  /// MPI counts in 32-bit integers, so more than 2^31 elements must be cut anyway; a bucket of this size also keeps
  /// the library's temporary buffers small without costing bandwidth.
  static let bucketElements = 4 << 20

  /// Starts MPI in this process and joins all ranks of the job.
  ///
  /// - Throws: `ClusterError.mpi` with the library's message.
  public static func start() throws -> MPICommunicator {
    let serialized = eagle_mpi_thread_serialized()
    var provided: Int32 = 0
    try checkedMPI("MPI_Init_thread") { MPI_Init_thread(nil, nil, serialized, &provided) }
    guard provided >= serialized else {
      throw ClusterError.mpi(call: "MPI_Init_thread", message: "this MPI library allows calls from one thread only")
    }
    return try MPICommunicator()
  }

  private init() throws {
    let world: MPI_Comm? = eagle_mpi_comm_world()
    // From here on a failing call returns, and its message reaches the user by the ordinary way of errors.
    try checkedMPI("MPI_Comm_set_errhandler") { MPI_Comm_set_errhandler(world, eagle_mpi_errors_return()) }
    (rank, size) = try Self.place(in: world)
    (localRank, localSize) = try Self.placeOnNode(world: world, rank: rank)
    self.world = world
  }

  private static func place(in communicator: MPI_Comm?) throws -> (rank: Int, size: Int) {
    var rank: Int32 = 0
    var size: Int32 = 0
    try checkedMPI("MPI_Comm_rank") { MPI_Comm_rank(communicator, &rank) }
    try checkedMPI("MPI_Comm_size") { MPI_Comm_size(communicator, &size) }
    return (Int(rank), Int(size))
  }

  /// Ranks that can share memory are ranks of one node.
  private static func placeOnNode(world: MPI_Comm?, rank: Int) throws -> (rank: Int, size: Int) {
    var node: MPI_Comm? = nil
    try checkedMPI("MPI_Comm_split_type") {
      MPI_Comm_split_type(world, eagle_mpi_comm_type_shared(), Int32(rank), eagle_mpi_info_null(), &node)
    }
    defer { MPI_Comm_free(&node) }
    return try place(in: node)
  }

  public func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Float>) throws {
    try sum(buffer, type: eagle_mpi_float())
  }

  public func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Double>) throws {
    try sum(buffer, type: eagle_mpi_double())
  }

  public func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Int64>) throws {
    try sum(buffer, type: eagle_mpi_int64())
  }

  private func sum<Element>(_ buffer: UnsafeMutableBufferPointer<Element>, type: MPI_Datatype) throws {
    try inBuckets(buffer.count) { start, count in
      try call("MPI_Allreduce") {
        MPI_Allreduce(eagle_mpi_in_place(), buffer.baseAddress! + start, count, type, eagle_mpi_sum(), world)
      }
    }
  }

  public func broadcast(_ bytes: UnsafeMutableRawBufferPointer, root: Int) throws {
    precondition(0..<size ~= root, "root \(root) is no rank of a cluster of \(size)")
    try inBuckets(bytes.count) { start, count in
      try call("MPI_Bcast") {
        MPI_Bcast(bytes.baseAddress! + start, count, eagle_mpi_byte(), Int32(root), world)
      }
    }
  }

  public func gather(_ data: Data) throws -> [Data] {
    var counts = [Int64](repeating: 0, count: size)
    var count = Int64(data.count)
    try call("MPI_Allgather") {
      MPI_Allgather(&count, 1, eagle_mpi_int64(), &counts, 1, eagle_mpi_int64(), world)
    }
    // One broadcast per rank: MPI_Allgatherv would be one call, but its offsets end at 2 GiB for all ranks together.
    return try (0..<size).map { root in
      var part = root == rank ? data : Data(count: Int(counts[root]))
      try part.withUnsafeMutableBytes { try broadcast($0, root: root) }
      return part
    }
  }

  public func barrier() throws {
    try call("MPI_Barrier") { MPI_Barrier(world) }
  }

  public func abort(code: Int32) {
    MPI_Abort(world, code)
  }

  public func finish() throws {
    try lock.withLock {
      guard !isFinished else { return }
      isFinished = true
      try checkedMPI("MPI_Finalize") { MPI_Finalize() }
    }
  }

  private func call(_ name: String, _ body: () -> Int32) throws {
    try lock.withLock {
      precondition(!isFinished, "\(name) after the cluster was left")
      try checkedMPI(name, body)
    }
  }

  private func inBuckets(_ count: Int, _ body: (_ start: Int, _ count: Int32) throws -> Void) rethrows {
    for start in stride(from: 0, to: count, by: Self.bucketElements) {
      try body(start, Int32(min(Self.bucketElements, count - start)))
    }
  }
}
