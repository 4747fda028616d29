import EagleCore
import Foundation

/// Ranks that live in one process, one thread each: what tests of distributed code run on.
///
/// Sums are taken in rank order, so results are the same bits on every run.
package final class LoopbackCommunicator: Communicator, @unchecked Sendable {
  package let rank: Int
  package let size: Int
  package let nodes: [Int]
  package let library = "threads of one process"
  private let hub: LoopbackHub
  private let lock = NSLock()
  private var countersMade = 0
  private var cost = AveragingCost()

  private init(rank: Int, hub: LoopbackHub, ranksPerNode: Int) {
    self.rank = rank
    size = hub.size
    nodes = (0..<hub.size).map { $0 / ranksPerNode * ranksPerNode }
    self.hub = hub
  }

  /// The communicators of `size` ranks, of which `ranksPerNode` pretend to be on one node, all when nil; give each to a
  /// thread of its own.
  package static func make(size: Int, ranksPerNode: Int? = nil) -> [LoopbackCommunicator] {
    precondition(size > 0, "a cluster has at least one rank, not \(size)")
    let hub = LoopbackHub(size: size)
    return (0..<size).map { LoopbackCommunicator(rank: $0, hub: hub, ranksPerNode: ranksPerNode ?? size) }
  }

  /// Runs `body` on `size` ranks at once and returns their results, indexed by rank.
  ///
  /// A rank that throws aborts the others, and its error is the one that is thrown here.
  package static func run<Result: Sendable>(
    size: Int, ranksPerNode: Int? = nil, _ body: @escaping @Sendable (LoopbackCommunicator) throws -> Result
  ) throws -> [Result] {
    let ranks = make(size: size, ranksPerNode: ranksPerNode)
    let outcomes = LoopbackOutcomes<Result>(count: size)
    let done = DispatchGroup()
    for communicator in ranks {
      done.enter()
      // Threads, not a shared pool: a rank that waits in a collective call must not keep another from starting.
      let thread = Thread {
        outcomes.store(Swift.Result { try body(communicator) }, rank: communicator.rank)
        if outcomes.hasFailed(communicator.rank) { communicator.abort(code: 1) }
        done.leave()
      }
      thread.stackSize = 8 << 20
      thread.start()
    }
    done.wait()
    return try outcomes.get()
  }

  package func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Float>) throws { try sum(buffer) }
  package func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Double>) throws { try sum(buffer) }
  package func allReduceSum(_ buffer: UnsafeMutableBufferPointer<Int64>) throws { try sum(buffer) }

  private func sum<Element: AdditiveArithmetic>(_ buffer: UnsafeMutableBufferPointer<Element>) throws {
    let parts = try allGather(Data(buffer: buffer))
    try requireEqualLengths(parts, call: "allReduceSum")
    buffer.update(repeating: .zero)
    for part in parts {
      part.withUnsafeBytes { bytes in
        for i in buffer.indices {
          buffer[i] += bytes.loadUnaligned(fromByteOffset: i * MemoryLayout<Element>.stride, as: Element.self)
        }
      }
    }
  }

  package func broadcast(_ bytes: UnsafeMutableRawBufferPointer, root: Int) throws {
    precondition(0..<size ~= root, "root \(root) is no rank of a cluster of \(size)")
    let parts = try allGather(Data(bytes))
    try requireEqualLengths(parts, call: "broadcast")
    bytes.copyBytes(from: parts[root])
  }

  package func allGather(_ data: Data) throws -> [Data] { try hub.allGather(data, rank: rank) }
  package func barrier() throws { _ = try hub.allGather(Data(), rank: rank) }

  package func allToAll(_ data: [Data]) throws -> [Data] {
    // Every rank gets the data for all ranks, which costs nothing within one process.
    try (0..<size).map { receiver in try allGather(data[receiver]) }[rank]
  }

  package func startAllReduceSum(
    _ buffer: UnsafeMutableBufferPointer<Float>, wire: ComputePrecision
  ) throws -> any PendingCollective {
    try sum(buffer, wire: wire, ownSliceOnly: false)
  }

  package func startReduceScatterSum(
    _ buffer: UnsafeMutableBufferPointer<Float>, wire: ComputePrecision
  ) throws -> any PendingCollective {
    try sum(buffer, wire: wire, ownSliceOnly: true)
  }

  /// Adds up at once: the call returns only after the other ranks have made theirs.
  private func sum(
    _ buffer: UnsafeMutableBufferPointer<Float>, wire: ComputePrecision, ownSliceOnly: Bool
  ) throws -> any PendingCollective {
    let start = ContinuousClock.now
    let slices = Slices(count: buffer.count, ranks: size)
    if wire == .bf16 { Wire.round(buffer) }
    try allReduceSum(buffer)
    if wire == .bf16 && !ownSliceOnly { Wire.round(buffer) }
    if ownSliceOnly {
      // The other slices are undefined, which shows a reader of them.
      for i in buffer.indices where !slices[rank].contains(i) { buffer[i] = .nan }
    }
    let own = slices[rank].count
    note((buffer.count - own + (ownSliceOnly ? 0 : own * (size - 1))) * wire.bytes, since: start)
    return Completed()
  }

  package func startAllGather(_ buffer: UnsafeMutableBufferPointer<Float>) throws -> any PendingCollective {
    let start = ContinuousClock.now
    let slices = Slices(count: buffer.count, ranks: size)
    let parts = try allGather(Data(buffer: UnsafeMutableBufferPointer(rebasing: buffer[slices[rank]])))
    for (rank, part) in parts.enumerated() where rank != self.rank {
      guard part.count == slices[rank].count * MemoryLayout<Float>.stride else {
        throw ClusterError.lengthMismatch(
          call: "startAllGather", rank: rank, length: part.count,
          expected: slices[rank].count * MemoryLayout<Float>.stride
        )
      }
      _ = part.copyBytes(to: UnsafeMutableBufferPointer(rebasing: buffer[slices[rank]]))
    }
    note(slices[rank].count * (size - 1) * MemoryLayout<Float>.stride, since: start)
    return Completed()
  }

  private func note(_ bytes: Int, since start: ContinuousClock.Instant) {
    lock.withLock {
      cost.bytesSent += bytes
      cost.seconds += start.duration(to: .now).inSeconds
    }
  }

  package func takeAveragingCost() -> AveragingCost {
    lock.withLock {
      defer { cost = AveragingCost() }
      return cost
    }
  }

  package func tickets() throws -> () throws -> Int {
    try barrier()
    let counter = lock.withLock {
      defer { countersMade += 1 }
      return countersMade
    }
    return { [hub] in try hub.ticket(of: counter) }
  }

  package func tick() {}
  package func watch(_ limits: RankLimits) {}
  package func abort(code: Int32) { hub.abort(rank: rank, code: code) }
  package func finish() throws {}

  private func requireEqualLengths(_ parts: [Data], call: String) throws {
    guard let differing = parts.firstIndex(where: { $0.count != parts[0].count }) else { return }
    throw ClusterError.lengthMismatch(
      call: call, rank: differing, length: parts[differing].count, expected: parts[0].count)
  }
}

/// The rendezvous of loopback ranks: each deposits its data, and the last one publishes all of it.
private final class LoopbackHub: @unchecked Sendable {
  let size: Int
  private let condition = NSCondition()
  private var waiting: [Int: Data] = [:]
  private var exchanged: [Data] = []
  private var generation = 0
  private var failure: ClusterError?
  private var tickets: [Int: Int] = [:]

  init(size: Int) { self.size = size }

  func ticket(of counter: Int) throws -> Int {
    condition.lock()
    defer { condition.unlock() }
    if let failure { throw failure }
    defer { tickets[counter, default: 0] += 1 }
    return tickets[counter, default: 0]
  }

  /// Blocks until every rank has deposited its data.
  func allGather(_ data: Data, rank: Int) throws -> [Data] {
    condition.lock()
    defer { condition.unlock() }
    if let failure { throw failure }
    waiting[rank] = data
    if waiting.count == size {
      // No rank can finish the next exchange before all have read this one: it needs data of every rank.
      exchanged = (0..<size).compactMap { waiting[$0] }
      waiting = [:]
      generation += 1
      condition.broadcast()
      return exchanged
    }
    let current = generation
    while generation == current && failure == nil { condition.wait() }
    if generation == current, let failure { throw failure }
    return exchanged
  }

  func abort(rank: Int, code: Int32) {
    condition.lock()
    defer { condition.unlock() }
    if failure == nil { failure = .aborted(rank: rank, code: code) }
    condition.broadcast()
  }
}

/// What each rank of a loopback run returned or threw.
private final class LoopbackOutcomes<Value: Sendable>: @unchecked Sendable {
  private let lock = NSLock()
  private var outcomes: [Result<Value, any Error>?]
  private var firstFailure: (any Error)?

  init(count: Int) { outcomes = Array(repeating: nil, count: count) }

  func store(_ outcome: Result<Value, any Error>, rank: Int) {
    lock.withLock {
      outcomes[rank] = outcome
      if case .failure(let error) = outcome, firstFailure == nil { firstFailure = error }
    }
  }

  func hasFailed(_ rank: Int) -> Bool {
    lock.withLock {
      if case .failure = outcomes[rank] { true } else { false }
    }
  }

  /// The results in rank order, or the error of the rank that failed first.
  func get() throws -> [Value] {
    try lock.withLock {
      if let firstFailure { throw firstFailure }
      return try outcomes.compactMap { try $0?.get() }
    }
  }
}
