import CMPI
import EagleCluster
import EagleCore
import Foundation

/// The ranks of an MPI job. Calls may come from any thread; one thread makes them all.
public final class MPICommunicator: Communicator, @unchecked Sendable {
  /// The number of this process in the MPI job, 0..<`size`.
  public let rank: Int
  /// The number of processes of the MPI job.
  public let size: Int
  /// The smallest rank on the node of each rank, [`size`].
  public let nodes: [Int]
  /// The name and version of the MPI library.
  public var library: String { Cluster.library }

  private let thread: MPIThread
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
  public static func start() throws -> MPICommunicator { try MPICommunicator(try MPIThread.start()) }

  private init(_ thread: MPIThread) throws {
    self.thread = thread
    (rank, size) = (thread.context.rank, thread.context.size)
    let found = try Self.allGather(of: thread, thread.context.leader).map(Int.init)
    // With the environment variable `EAGLE_RANKS_PER_NODE` on rank 0 consecutive ranks count as one node, wherever they
    // are: to try on one machine what several do.
    let own = ProcessInfo.processInfo.environment["EAGLE_RANKS_PER_NODE"].flatMap { Int64($0) }
    let pretended = Int(try Self.allGather(of: thread, own ?? 0)[0])
    nodes = pretended > 0 ? found.indices.map { $0 / pretended * pretended } : found
  }

  private var world: eagle_mpi_comm { thread.context.world }

  /// Replaces every float by its sum over all ranks with `MPI_Iallreduce`, 2^22 elements a call.
  public func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Float>) throws { try sum(buffer, eagle_mpi_float) }
  /// Replaces every double by its sum over all ranks with `MPI_Iallreduce`, 2^22 elements a call.
  public func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Double>) throws { try sum(buffer, eagle_mpi_double) }
  /// Replaces every integer by its sum over all ranks with `MPI_Iallreduce`, 2^22 elements a call.
  public func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Int64>) throws { try sum(buffer, eagle_mpi_int64) }

  private func sum<Element>(_ buffer: UnsafeMutableBufferPointer<Element>, _ type: eagle_mpi_type) throws {
    let base = buffer.baseAddress
    try thread.perform(
      Self.buckets(buffer.count).map { [world] bucket in
        MPICall("MPI_Iallreduce") { eagle_mpi_sum(base! + bucket.lowerBound, Int32(bucket.count), type, world, $0) }
      })
  }

  /// Overwrites `bytes` on every rank by those of `root` with `MPI_Ibcast`, 2^22 bytes a call.
  public func broadcast(_ bytes: UnsafeMutableRawBufferPointer, root: Int) throws {
    precondition(0..<size ~= root, "root \(root) is no rank of a cluster of \(size)")
    try thread.perform(broadcasts(bytes, root: root))
  }

  private func broadcasts(_ bytes: UnsafeMutableRawBufferPointer, root: Int) -> [MPIWork] {
    let base = bytes.baseAddress
    return Self.buckets(bytes.count).map { [world] bucket in
      MPICall("MPI_Ibcast") {
        eagle_mpi_broadcast(base! + bucket.lowerBound, Int32(bucket.count), Int32(root), world, $0)
      }
    }
  }

  /// Gives every rank the data of all, indexed by rank: `MPI_Iallgatherv` for at most 1 GiB in all, else broadcasts.
  public func allGather(_ data: Data) throws -> [Data] {
    let counts = try Self.allGather(of: thread, Int64(data.count)).map(Int.init)
    let total = counts.reduce(0, +)
    if total <= Self.mostGatheredBytes { return try allGather(data, counts: counts, total: total) }
    // One broadcast per rank: the offsets of a gather of all end at 2 GiB for all ranks together.
    return try (0..<size).map { root in
      var part = root == rank ? data : Data(count: counts[root])
      try part.withUnsafeMutableBytes { try broadcast($0, root: root) }
      return part
    }
  }

  /// Bytes of all ranks that one call gathers.
  private static let mostGatheredBytes = 1 << 30

  /// The data of all ranks in one call.
  private func allGather(_ data: Data, counts: [Int], total: Int) throws -> [Data] {
    guard total > 0 else { return counts.map { _ in Data() } }
    let layout = Layout(ranks: size) { _ in (0, 0) }
    var start = 0
    for (rank, count) in counts.enumerated() {
      (layout.counts[rank], layout.starts[rank]) = (Int32(count), Int32(start))
      start += count
    }
    let all = UnsafeMutableRawBufferPointer.allocate(byteCount: total, alignment: 16)
    defer { all.deallocate() }
    data.copyBytes(to: UnsafeMutableRawBufferPointer(rebasing: all[Int(layout.starts[rank])...]), count: data.count)
    let base = all.baseAddress
    try thread.perform([
      MPICall("MPI_Iallgatherv") { [world] in
        eagle_mpi_gather_parts(base, layout.counts, layout.starts, world, $0)
      }
    ])
    return counts.indices.map { Data(all[Int(layout.starts[$0])...].prefix(counts[$0])) }
  }

  /// A number from each rank.
  private static func allGather<Number: FixedWidthInteger>(of thread: MPIThread, _ number: Number) throws -> [Number] {
    let all = UnsafeMutablePointer<Number>.allocate(capacity: thread.context.size + 1)
    defer { all.deallocate() }
    let own = all + thread.context.size
    own.initialize(to: number)
    let world = thread.context.world
    try thread.perform([
      MPICall("MPI_Iallgather") { eagle_mpi_gather(own, all, Int32(MemoryLayout<Number>.size), world, $0) }
    ])
    return Array(UnsafeBufferPointer(start: all, count: thread.context.size))
  }

  /// Sends `data[r]` to rank r, and returns what the ranks have sent to this one, indexed by rank.
  public func allToAll(_ data: [Data]) throws -> [Data] {
    precondition(data.count == size, "\(data.count) parts for \(size) ranks")
    let lengths = try allToAll(counts: data.map { Int64($0.count) })
    let parts = lengths.map { UnsafeMutableRawBufferPointer.allocate(byteCount: $0, alignment: 16) }
    defer { for part in parts { part.deallocate() } }
    let out = data.map { part in
      let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: part.count, alignment: 16)
      copy.copyBytes(from: part)
      return copy
    }
    defer { for part in out { part.deallocate() } }
    // Messages between two ranks arrive in their order, so one tag does for all buckets.
    try thread.perform((0..<size).flatMap { messages(to: $0, out[$0], parts[$0]) })
    return (0..<size).map { $0 == rank ? data[rank] : Data(parts[$0]) }
  }

  /// A number to each rank, and one from each, in one call.
  private func allToAll(counts: [Int64]) throws -> [Int] {
    let layout = Layout(ranks: size) { (8, Int32(8 * $0)) }
    let out = UnsafeMutablePointer<Int64>.allocate(capacity: 2 * size)
    defer { out.deallocate() }
    out.initialize(repeating: 0, count: 2 * size)
    out.update(from: counts, count: size)
    let incoming = out + size
    try thread.perform([
      MPICall("MPI_Ialltoallv") { [world] in
        eagle_mpi_exchange_parts(
          out, layout.counts, layout.starts, incoming, layout.counts, layout.starts, world, $0)
      }
    ])
    return UnsafeBufferPointer(start: incoming, count: size).map { Int($0) }
  }

  private func messages(
    to other: Int, _ out: UnsafeMutableRawBufferPointer, _ part: UnsafeMutableRawBufferPointer
  ) -> [MPIWork] {
    guard other != rank else { return [] }
    let (outgoing, incoming) = (out.baseAddress, part.baseAddress)
    let receives = Self.buckets(part.count).map { [world] bucket in
      MPICall("MPI_Irecv") {
        eagle_mpi_receive(incoming! + bucket.lowerBound, Int32(bucket.count), Int32(other), Self.allToAllTag, world, $0)
      }
    }
    let sends = Self.buckets(out.count).map { [world] bucket in
      MPICall("MPI_Isend") {
        eagle_mpi_send(outgoing! + bucket.lowerBound, Int32(bucket.count), Int32(other), Self.allToAllTag, world, $0)
      }
    }
    return receives + sends
  }

  private static let allToAllTag: Int32 = 11

  /// Waits in `MPI_Ibarrier` until every rank has made this call.
  public func barrier() throws {
    try thread.perform([MPICall("MPI_Ibarrier") { [world] in eagle_mpi_barrier(world, $0) }])
  }

  /// Starts an all-reduce on the MPI thread and returns at once.
  public func startAllReduceSum(
    _ buffer: UnsafeMutableBufferPointer<Float>, wire: ComputePrecision
  ) throws -> any PendingCollective {
    start(.allReduce, buffer, wire: wire)
  }

  /// Starts a reduce-scatter on the MPI thread and returns at once.
  public func startReduceScatterSum(
    _ buffer: UnsafeMutableBufferPointer<Float>, wire: ComputePrecision
  ) throws -> any PendingCollective {
    start(.reduceScatter, buffer, wire: wire)
  }

  /// Starts an all-gather of the slices of all ranks on the MPI thread and returns at once.
  public func startAllGather(_ buffer: UnsafeMutableBufferPointer<Float>) throws -> any PendingCollective {
    start(.allGather, buffer, wire: .fp32)
  }

  private func start(
    _ kind: MPIAveraging.Kind, _ buffer: UnsafeMutableBufferPointer<Float>, wire: ComputePrecision
  ) -> any PendingCollective {
    guard !buffer.isEmpty, size > 1 else { return Completed() }
    let collective = MPIAveraging(buffer, wire: wire, kind, thread: thread)
    thread.submit([collective])
    return collective
  }

  /// The slice of a buffer of `count` elements that belongs to this rank in the current levels.
  public func ownSlice(count: Int) -> Range<Int> { thread.levels.ranges(count: count).last! }

  /// Sets the levels of later sums and gathers; two levels need `canAverageInTwoLevels`. Collective.
  public func setAveragingLevels(_ levels: AveragingLevels) throws {
    precondition(levels == .flat || canAverageInTwoLevels, "two levels of \(nodes)")
    try thread.average(in: levels == .flat ? nodes.map { _ in 0 } : nodes)
  }

  /// Returns the cost of sums and gathers since the last call.
  public func takeAveragingCost() -> AveragingCost { thread.takeAveragingCost() }

  /// A counter that all ranks share through one-sided MPI calls: each call gives the next number from 0.
  public func tickets() throws -> () throws -> Int {
    // The number only ever grows; what it is now is where these tickets begin.
    try barrier()
    let first = try add(0)
    try barrier()
    return { [self] in Int(try add(1) - first) }
  }

  private func add(_ number: Int64) throws -> Int64 {
    let cells = UnsafeMutablePointer<Int64>.allocate(capacity: 2)
    defer { cells.deallocate() }
    cells.initialize(to: number)
    (cells + 1).initialize(to: 0)
    let counter = thread.context.counter
    try thread.perform([
      MPICall("MPI_Rget_accumulate") { eagle_mpi_fetch_and_add(cells, cells + 1, counter, $0) }
    ])
    return cells[1]
  }

  /// Notes that this rank makes progress, for the watch over the ranks.
  public func tick() { thread.tick() }

  /// Begins to watch the ranks; when one exceeds the limits, all ranks end with its name on standard error.
  public func watch(_ limits: RankLimits) throws {
    let own = "rank \(rank) on \(HostName.own ?? "an unknown host")"
    let names = try allGather(Data(own.utf8)).map { String(decoding: $0, as: UTF8.self) }
    thread.watch(names: names, limits: limits)
  }

  /// Ends all processes of the MPI job with status `code`, and does not return.
  public func abort(code: Int32) { thread.abort(code: code) }

  /// Ends MPI in this process after the last collective call; later calls do nothing.
  public func finish() throws {
    let isFirst = lock.withLock {
      defer { isFinished = true }
      return !isFinished
    }
    guard isFirst else { return }
    // A rank that has left is not heard from any more, and rank 0 may still have work.
    try barrier()
    try thread.end()
  }

  private static func buckets(_ count: Int) -> [Range<Int>] {
    stride(from: 0, to: count, by: bucketElements).map { $0..<min(count, $0 + bucketElements) }
  }
}
