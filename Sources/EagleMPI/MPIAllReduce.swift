import CMPI
import EagleCluster
import EagleCore
import Foundation

// P elements of the buffer · N ranks.

/// An all-reduce as reduce-scatter and all-gather, which overlap with computing and with those of other buffers.
///
/// Reduce-scatter: each rank gets its slice from all ranks (MPI_Ialltoallv) and adds the parts up in fp32 in the order
/// of ranks. All-gather: the slices go to all ranks (MPI_Iallgatherv). Both move P (N − 1) / N elements in and out of a
/// rank, the least that an all-reduce can.
///
/// Since each element is summed on one rank, all ranks hold the same bits, and bfloat16 on the wire rounds every part
/// once, not once a hop.
final class MPIAllReduce: MPIWork, Pending, @unchecked Sendable {
  private enum Stage { case reducing, queued, gathering }

  private let buffer: UnsafeMutableBufferPointer<Float>
  private let wire: ComputePrecision
  private let slices: Slices
  private let me: Int
  private let thread: MPIThread
  /// Whether it ends behind the reduce-scatter, with each rank's own slice alone.
  private let isReduceScatter: Bool
  private var turn = 0
  private var stage = Stage.reducing
  private var request = eagle_mpi_request()
  /// The whole buffer in bfloat16: what is sent, and later what comes in.
  private var halves: UnsafeMutablePointer<UInt16>?
  /// This rank's slice from the N − 1 other ranks.
  private var parts: UnsafeMutableRawPointer?
  /// The layout of the slices in the buffer, and that of the parts that come in.
  private let layout: Layout
  private let incoming: Layout

  init(
    _ buffer: UnsafeMutableBufferPointer<Float>, wire: ComputePrecision, isReduceScatter: Bool, thread: MPIThread
  ) {
    let (me, slices) = (thread.context.rank, Slices(count: buffer.count, ranks: thread.context.size))
    self.buffer = buffer
    self.wire = wire
    self.isReduceScatter = isReduceScatter
    self.thread = thread
    (self.me, self.slices) = (me, slices)
    layout = Layout(slices, elementBytes: wire.bytes)
    layout.counts[me] = 0  // A rank sends itself nothing.
    let own = Int32(slices[me].count * wire.bytes)
    incoming = Layout(ranks: slices.ranks) { rank in
      (count: rank == me ? 0 : own, start: Int32(rank > me ? rank - 1 : rank) * own)
    }
    super.init("MPI_Ialltoallv")
  }

  deinit {
    halves?.deallocate()
    parts?.deallocate()
  }

  func wait() throws { try thread.wait(for: [self]) }

  override var isAveraging: Bool { true }
  override func isSubmitted(to thread: MPIThread) { if !isReduceScatter { turn = thread.takeGatherTurn() } }
  override func canStart(_ thread: MPIThread) -> Bool { thread.reduceScatters < MPIThread.mostReduceScatters }

  override func start(_ thread: MPIThread) throws {
    thread.reduceScatters += 1
    let own = slices[me].count * wire.bytes
    parts = .allocate(byteCount: max(1, own * (slices.ranks - 1)), alignment: 64)
    if wire == .bf16 {
      let halves = UnsafeMutablePointer<UInt16>.allocate(capacity: max(1, slices.count))
      Wire.narrow(buffer.baseAddress!, halves, slices.count)
      self.halves = halves
    }
    let out = UnsafeRawPointer(halves) ?? UnsafeRawPointer(buffer.baseAddress!)
    thread.note(sent: slices.count * wire.bytes - own)
    try checkedMPI(call) {
      eagle_mpi_exchange_parts(
        out, layout.counts, layout.starts, parts, incoming.counts, incoming.starts, thread.context.reduceScatters,
        &request)
    }
  }

  override func advance(_ thread: MPIThread) throws -> Bool {
    if stage == .reducing {
      guard try testMPI(&request, call) else { return false }
      add()
      thread.reduceScatters -= 1
      stage = .queued
      if isReduceScatter { return true }
    }
    if stage == .queued {
      guard turn == thread.gatherTurn else { return false }
      thread.gatherTurn += 1
      try gather(thread)
      stage = .gathering
    }
    guard try testMPI(&request, "MPI_Iallgatherv") else { return false }
    if let halves { Wire.widen(halves, buffer.baseAddress!, slices.count) }
    return true
  }

  /// Sums this rank's slice in the order of ranks.
  private func add() {
    let range = slices[me]
    guard !range.isEmpty, let parts else { return }
    let own = buffer.baseAddress! + range.lowerBound
    var sum = [Float](repeating: 0, count: range.count)
    var widened = [Float](repeating: 0, count: wire == .bf16 ? range.count : 0)
    for rank in 0..<slices.ranks {
      let part = parts + Int(incoming.starts[rank])
      switch (rank == me, wire) {
      case (true, .fp32): Wire.add(own, to: &sum, range.count)
      case (false, .fp32): Wire.add(part.assumingMemoryBound(to: Float.self), to: &sum, range.count)
      case (true, .bf16), (false, .bf16):
        let source = rank == me ? halves! + range.lowerBound : part.assumingMemoryBound(to: UInt16.self)
        Wire.widen(source, &widened, range.count)
        Wire.add(widened, to: &sum, range.count)
      }
    }
    own.update(from: sum, count: range.count)
    self.parts?.deallocate()
    self.parts = nil
  }

  private func gather(_ thread: MPIThread) throws {
    let range = slices[me]
    if let halves { Wire.narrow(buffer.baseAddress! + range.lowerBound, halves + range.lowerBound, range.count) }
    layout.counts[me] = Int32(range.count * wire.bytes)
    let all = UnsafeMutableRawPointer(halves) ?? UnsafeMutableRawPointer(buffer.baseAddress!)
    thread.note(sent: range.count * wire.bytes * (slices.ranks - 1))
    try checkedMPI("MPI_Iallgatherv") {
      eagle_mpi_gather_parts(all, layout.counts, layout.starts, thread.context.allGathers, &request)
    }
  }
}

/// An all-gather: every rank's slice of a buffer to all ranks, as it is.
final class MPIAllGather: MPIWork, Pending, @unchecked Sendable {
  private let buffer: UnsafeMutableBufferPointer<Float>
  private let thread: MPIThread
  private let layout: Layout
  private var turn = 0
  private var request = eagle_mpi_request()
  private var hasStarted = false

  init(_ buffer: UnsafeMutableBufferPointer<Float>, thread: MPIThread) {
    self.buffer = buffer
    self.thread = thread
    layout = Layout(Slices(count: buffer.count, ranks: thread.context.size), elementBytes: MemoryLayout<Float>.stride)
    super.init("MPI_Iallgatherv")
  }

  func wait() throws { try thread.wait(for: [self]) }

  override var isAveraging: Bool { true }
  override func isSubmitted(to thread: MPIThread) { turn = thread.takeGatherTurn() }

  override func advance(_ thread: MPIThread) throws -> Bool {
    if !hasStarted {
      guard turn == thread.gatherTurn else { return false }
      thread.gatherTurn += 1
      hasStarted = true
      thread.note(sent: Int(layout.counts[thread.context.rank]) * (thread.context.size - 1))
      try checkedMPI(call) {
        eagle_mpi_gather_parts(buffer.baseAddress, layout.counts, layout.starts, thread.context.allGathers, &request)
      }
    }
    return try testMPI(&request, call)
  }
}

/// The lengths and offsets of all ranks' parts of a buffer, in bytes. MPI reads them until the request is done, so they
/// have an address that stays.
private final class Layout {
  let counts: UnsafeMutablePointer<Int32>
  let starts: UnsafeMutablePointer<Int32>

  init(ranks: Int, _ part: (Int) -> (count: Int32, start: Int32)) {
    counts = .allocate(capacity: ranks)
    starts = .allocate(capacity: ranks)
    for rank in 0..<ranks { (counts[rank], starts[rank]) = part(rank) }
  }

  convenience init(_ slices: Slices, elementBytes: Int) {
    self.init(ranks: slices.ranks) {
      (Int32(slices[$0].count * elementBytes), Int32(slices[$0].lowerBound * elementBytes))
    }
  }

  deinit {
    counts.deallocate()
    starts.deallocate()
  }
}
