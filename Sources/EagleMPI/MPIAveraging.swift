import CMPI
import EagleCluster
import EagleCore
import Foundation

// P elements of the buffer · n ranks of a level.

/// One level of averaging: some ranks, among which this one, that reduce a range of every buffer together.
///
/// In flat averaging all ranks are the one level. In two levels the first level is the ranks of a node, and the second
/// those with the same index on each node: a rank adds up its slice of the node's gradients and then, with one rank of
/// each other node, a slice of that. So a node sends its sum once, not once for each of its ranks.
struct AveragingLevel {
  /// n.
  let size: Int
  /// The index of this rank among them.
  let rank: Int
  /// Scatters and gathers are ordered among themselves alone, so each kind has a communicator.
  let scatters: eagle_mpi_comm
  let gathers: eagle_mpi_comm
  /// Whether its messages stay on a node.
  let isOnNode: Bool

  /// This rank's part of a range that the level reduces.
  func slice(of range: Range<Int>) -> Range<Int> {
    let slice = Slices(count: range.count, ranks: size)[rank]
    return range.lowerBound + slice.lowerBound..<range.lowerBound + slice.upperBound
  }
}

extension [AveragingLevel] {
  /// The range that each level reduces, and after them this rank's own slice.
  func ranges(count: Int) -> [Range<Int>] {
    reduce(into: [0..<count]) { ranges, level in ranges.append(level.slice(of: ranges.last!)) }
  }
}

/// An all-reduce, reduce-scatter or all-gather of a buffer, level by level, which overlaps with computing and with
/// those of other buffers.
///
/// Scatter: each rank of a level gets its slice of the level's range from the others (MPI_Ialltoallv) and adds the
/// parts up in fp32 in the order of ranks. Gather: the slices go to all ranks of the level (MPI_Iallgatherv). Both move
/// P (n − 1) / n elements in and out of a rank, the least that an all-reduce can. An all-reduce scatters from the first
/// level to the last and gathers back.
///
/// Since each element is summed on one rank, all ranks hold the same bits. bfloat16 on the wire rounds every part once,
/// not once a hop; within a node of two levels parts travel in fp32.
final class MPIAveraging: MPIWork, PendingCollective, @unchecked Sendable {
  enum Kind { case allReduce, reduceScatter, allGather }

  private enum Stage {
    case scatter(Int)
    case gather(Int)
  }

  private let buffer: UnsafeMutableBufferPointer<Float>
  private let wire: ComputePrecision
  private let kind: Kind
  private let levels: [AveragingLevel]
  private let ranges: [Range<Int>]
  private let thread: MPIThread
  /// What is still to be done, and the number of each stage among those of its communicator.
  private var stages: [(stage: Stage, turn: Int)] = []
  private var step: Step?

  init(
    _ buffer: UnsafeMutableBufferPointer<Float>, wire: ComputePrecision, _ kind: Kind, thread: MPIThread
  ) {
    (self.buffer, self.wire, self.kind, self.thread) = (buffer, wire, kind, thread)
    levels = thread.levels
    ranges = levels.ranges(count: buffer.count)
    super.init("MPI_Ialltoallv")
  }

  func wait() throws { try thread.wait(for: [self]) }

  override var isAveraging: Bool { true }

  override func isSubmitted(to thread: MPIThread) {
    let down = levels.indices.map { Stage.scatter($0) }
    let up = levels.indices.reversed().map { Stage.gather($0) }
    let all =
      switch kind {
      case .allReduce: down + up
      case .reduceScatter: down
      case .allGather: up
      }
    stages = all.map { ($0, thread.takeTurn(Self.lane($0))) }
  }

  /// The number of a stage's communicator.
  private static func lane(_ stage: Stage) -> Int {
    switch stage {
    case .scatter(let level): 2 * level
    case .gather(let level): 2 * level + 1
    }
  }

  override func canStart(_ thread: MPIThread) -> Bool {
    kind == .allGather || thread.reduceScatters < MPIThread.mostReduceScatters
  }

  override func start(_ thread: MPIThread) throws { if kind != .allGather { thread.reduceScatters += 1 } }

  override func advance(_ thread: MPIThread) throws -> Bool {
    while true {
      if let step {
        guard try step.isDone() else { return false }
        self.step = nil
        finish(step, thread)
      }
      guard let next = stages.first else { return true }
      guard thread.startTurn(next.turn, Self.lane(next.stage)) else { return false }
      stages.removeFirst()
      step = try begin(next.stage, thread)
    }
  }

  private func finish(_ step: Step, _ thread: MPIThread) {
    step.finish()
    if case .scatter(levels.count - 1) = step.stage { thread.reduceScatters -= 1 }
  }

  private func begin(_ stage: Stage, _ thread: MPIThread) throws -> Step {
    switch stage {
    case .scatter(let index): try begin(stage, levels[index], ranges[index], thread, Scatter.self)
    case .gather(let index): try begin(stage, levels[index], ranges[index], thread, Gather.self)
    }
  }

  private func begin(
    _ stage: Stage, _ level: AveragingLevel, _ range: Range<Int>, _ thread: MPIThread, _ type: Step.Type
  ) throws -> Step {
    // Weights, and what stays on a node, are sent in fp32.
    let wire = kind == .allGather || (levels.count > 1 && level.isOnNode) ? .fp32 : wire
    let part = UnsafeMutableBufferPointer(rebasing: buffer[range])
    let step = type.init(stage, part, level, wire)
    thread.note(sent: step.bytesSent, onNode: level.isOnNode && levels.count > 1)
    try step.begin()
    return step
  }

  // MARK: stages

  /// One call of a level.
  private class Step {
    let stage: Stage
    let buffer: UnsafeMutableBufferPointer<Float>
    let level: AveragingLevel
    let wire: ComputePrecision
    let slices: Slices
    let layout: Layout
    var request = eagle_mpi_request()
    /// The buffer in bfloat16, or this rank's slice of it.
    var halves: UnsafeMutablePointer<UInt16>?

    required init(
      _ stage: Stage, _ buffer: UnsafeMutableBufferPointer<Float>, _ level: AveragingLevel, _ wire: ComputePrecision
    ) {
      (self.stage, self.buffer, self.level, self.wire) = (stage, buffer, level, wire)
      slices = Slices(count: buffer.count, ranks: level.size)
      layout = Layout(slices, elementBytes: wire.bytes)
      if wire == .bf16 { halves = .allocate(capacity: max(1, buffer.count)) }
    }

    deinit { halves?.deallocate() }

    var own: Range<Int> { slices[level.rank] }
    var bytesSent: Int { 0 }
    var call: String { "" }
    func begin() throws {}
    func finish() {}
    func isDone() throws -> Bool { try testMPI(&request, call) }
  }

  private final class Scatter: Step {
    /// This rank's slice from the n − 1 other ranks.
    private var parts: UnsafeMutableRawPointer?
    private var incoming: Layout?

    deinit { parts?.deallocate() }

    override var call: String { "MPI_Ialltoallv" }
    override var bytesSent: Int { (slices.count - own.count) * wire.bytes }

    override func begin() throws {
      // Empty on all ranks of the level, or on none.
      guard let base = buffer.baseAddress, !buffer.isEmpty else { return }
      let (bytes, me) = (Int32(own.count * wire.bytes), level.rank)
      layout.counts[me] = 0  // A rank sends itself nothing.
      let incoming = Layout(ranks: level.size) { rank in
        (count: rank == me ? 0 : bytes, start: Int32(rank > me ? rank - 1 : rank) * bytes)
      }
      self.incoming = incoming
      parts = .allocate(byteCount: max(1, Int(bytes) * (level.size - 1)), alignment: 64)
      if let halves { Wire.narrow(base, halves, buffer.count) }
      let out = UnsafeRawPointer(halves) ?? UnsafeRawPointer(base)
      try checkedMPI(call) {
        eagle_mpi_exchange_parts(
          out, layout.counts, layout.starts, parts, incoming.counts, incoming.starts, level.scatters, &request)
      }
    }

    override func isDone() throws -> Bool { try buffer.isEmpty || super.isDone() }

    /// Sums this rank's slice in the order of ranks.
    override func finish() {
      guard !own.isEmpty, let parts, let incoming else { return }
      let target = buffer.baseAddress! + own.lowerBound
      var sum = [Float](repeating: 0, count: own.count)
      var widened = [Float](repeating: 0, count: wire == .bf16 ? own.count : 0)
      for rank in 0..<level.size {
        let part = parts + Int(incoming.starts[rank])
        switch (rank == level.rank, wire) {
        case (true, .fp32): Wire.add(target, to: &sum, own.count)
        case (false, .fp32): Wire.add(part.assumingMemoryBound(to: Float.self), to: &sum, own.count)
        case (true, .bf16), (false, .bf16):
          let source = rank == level.rank ? halves! + own.lowerBound : part.assumingMemoryBound(to: UInt16.self)
          Wire.widen(source, &widened, own.count)
          Wire.add(widened, to: &sum, own.count)
        }
      }
      target.update(from: sum, count: own.count)
    }
  }

  private final class Gather: Step {
    override var call: String { "MPI_Iallgatherv" }
    override var bytesSent: Int { own.count * (level.size - 1) * wire.bytes }

    override func begin() throws {
      guard let base = buffer.baseAddress, !buffer.isEmpty else { return }
      if let halves { Wire.narrow(base + own.lowerBound, halves + own.lowerBound, own.count) }
      let all = UnsafeMutableRawPointer(halves) ?? UnsafeMutableRawPointer(base)
      try checkedMPI(call) {
        eagle_mpi_gather_parts(all, layout.counts, layout.starts, level.gathers, &request)
      }
    }

    override func isDone() throws -> Bool { try buffer.isEmpty || super.isDone() }

    override func finish() {
      if let halves, let base = buffer.baseAddress, !buffer.isEmpty { Wire.widen(halves, base, slices.count) }
    }
  }
}
