import CMPI
import EagleCluster
import EagleCore
import Foundation

/// The one thread of this process that calls MPI.
///
/// Other threads hand it work and wait, or continue computing meanwhile. Every request is one that does not block, so
/// the thread can test all of them one after another, and notices in between that another rank has fallen silent. That
/// is why a rank which waits for a dead one does not wait for ever.
final class MPIThread: @unchecked Sendable {
  /// The rank of this process, and the communicators, each with messages of its own.
  struct Context {
    var rank = 0
    var size = 1
    var world = eagle_mpi_comm()
    /// The communicator of heartbeats.
    var control = eagle_mpi_comm()
    var counter = eagle_mpi_window()
    /// The smallest rank on this one's node.
    var leader: Int32 = 0
  }

  /// Reduce-scatters in flight at a time: enough to keep the link busy, few enough to bound the memory for what comes
  /// in.
  static let mostReduceScatters = 4
  /// The sleep between two tests while others compute, and while nothing is in flight.
  private static let busyPause: UInt32 = 100  // µs
  private static let idlePause = 0.005  // s

  private let condition = MonotonicCondition()
  // Guarded by `condition`.
  private var queue: [MPIWork] = []
  private var waiters = 0
  private var isEnding = false
  private var ticks: Int64 = 0
  private var cost = AveragingCost()
  /// Stages of averaging that were submitted, by communicator.
  private var turnsTaken = [0, 0, 0, 0]
  private var levelsInUse: [AveragingLevel] = []

  // Used by the MPI thread alone.
  private(set) var context = Context()
  private var active: [MPIWork] = []
  private var watch: RankWatch?
  private var yields = 0
  /// Reduce-scatters in flight.
  var reduceScatters = 0
  /// The number of the next stage to start on each communicator of averaging: all ranks start them in the order in
  /// which they were submitted.
  private var turnsStarted = [0, 0, 0, 0]

  /// Starts MPI on a new thread.
  static func start() throws -> MPIThread {
    let thread = MPIThread()
    let started = DispatchSemaphore(value: 0)
    let outcome = StartOutcome()
    let runner = Thread {
      do {
        try thread.open()
      } catch {
        outcome.failure = error
      }
      started.signal()
      if outcome.failure == nil { thread.loop() }
    }
    runner.stackSize = 8 << 20
    runner.name = "mpi"
    runner.start()
    started.wait()
    if let failure = outcome.failure { throw failure }
    return thread
  }

  private final class StartOutcome: @unchecked Sendable { var failure: (any Error)? }

  private func open() throws {
    try checkedMPI("MPI_Init_thread") { eagle_mpi_start() }
    // From here on a failing call returns, and its message reaches the user as other errors do.
    try checkedMPI("MPI_Comm_set_errhandler") { eagle_mpi_world(&context.world) }
    var (rank, size): (Int32, Int32) = (0, 0)
    try checkedMPI("MPI_Comm_rank") { eagle_mpi_place(context.world, &rank, &size) }
    (context.rank, context.size) = (Int(rank), Int(size))
    try checkedMPI("MPI_Comm_split_type") { eagle_mpi_node(context.world, rank, &context.leader) }
    try checkedMPI("MPI_Comm_dup") { eagle_mpi_duplicate(context.world, &context.control) }
    try checkedMPI("MPI_Win_allocate") { eagle_mpi_window_make(context.world, rank, &context.counter) }
    levelsInUse = [try level(of: { _ in 0 }, isOnNode: false)]
  }

  /// Ranks with the same color as this one make up a level. Collective; on the MPI thread.
  private func level(of color: (Int) -> Int, isOnNode: Bool) throws -> AveragingLevel {
    var (scatters, gathers) = (eagle_mpi_comm(), eagle_mpi_comm())
    let own = Int32(color(context.rank))
    try checkedMPI("MPI_Comm_split") { eagle_mpi_split(context.world, own, Int32(context.rank), &scatters) }
    try checkedMPI("MPI_Comm_dup") { eagle_mpi_duplicate(scatters, &gathers) }
    let members = (0..<context.size).filter { color($0) == Int(own) }
    return AveragingLevel(
      size: members.count, rank: members.firstIndex(of: context.rank)!, scatters: scatters, gathers: gathers,
      isOnNode: isOnNode)
  }

  // MARK: for other threads

  /// Submits work, which starts in the order of these calls.
  func submit(_ work: [MPIWork]) {
    condition.lock()
    defer { condition.unlock() }
    precondition(!isEnding, "an MPI call after the cluster was left")
    for item in work { item.isSubmitted(to: self) }
    queue += work
    ticks += 1
    condition.broadcast()
  }

  /// The number of a stage in the order of all stages of its communicator; to be called in `isSubmitted`.
  func takeTurn(_ lane: Int) -> Int {
    defer { turnsTaken[lane] += 1 }
    return turnsTaken[lane]
  }

  /// The levels of averaging. They change while nothing is in flight.
  var levels: [AveragingLevel] {
    condition.lock()
    defer { condition.unlock() }
    return levelsInUse
  }

  /// Averages in these groups of ranks from now on, or among all ranks at once where there is one group. Collective,
  /// with nothing in flight, and before ranks are watched: making communicators blocks.
  ///
  /// - Parameter groups: the group of each rank, all of one size
  func average(in groups: [Int]) throws {
    let names = Set(groups).sorted()
    let places = groups.indices.map { rank in groups[..<rank].count { $0 == groups[rank] } }
    try perform([
      MPIAction("MPI_Comm_split") { [self] in
        for level in self.levels {
          for var comm in [level.scatters, level.gathers] {
            try checkedMPI("MPI_Comm_free") { eagle_mpi_comm_free(&comm) }
          }
        }
        let levels =
          names.count == 1
          ? [try level(of: { _ in 0 }, isOnNode: false)]
          : [try level(of: { groups[$0] }, isOnNode: true), try level(of: { places[$0] }, isOnNode: false)]
        condition.lock()
        levelsInUse = levels
        (turnsTaken, turnsStarted) = ([0, 0, 0, 0], [0, 0, 0, 0])
        condition.unlock()
      }
    ])
  }

  /// Whether it is the turn of a stage, which then counts as started. On the MPI thread.
  func startTurn(_ turn: Int, _ lane: Int) -> Bool {
    guard turnsStarted[lane] == turn else { return false }
    turnsStarted[lane] += 1
    return true
  }

  /// Waits for work that was submitted.
  func wait(for work: [MPIWork]) throws {
    condition.lock()
    waiters += 1
    defer {
      waiters -= 1
      condition.unlock()
    }
    for item in work {
      while !item.isDone { condition.wait() }
      if let failure = item.failure { throw failure }
    }
  }

  func perform(_ work: [MPIWork]) throws {
    submit(work)
    try wait(for: work)
  }

  /// Notes that this rank makes progress.
  func tick() {
    condition.lock()
    ticks += 1
    condition.unlock()
  }

  /// Begins to watch the other ranks, whose names are for the message.
  func watch(names: [String], limits: RankLimits) {
    submit([
      MPIAction("watch") { [self] in
        if let watch { watch.limits = limits } else { watch = RankWatch(context, names: names, limits: limits) }
      }
    ])
  }

  /// The cost of all-reduces and all-gathers since the last call.
  func takeAveragingCost() -> AveragingCost {
    condition.lock()
    defer {
      cost = AveragingCost()
      condition.unlock()
    }
    return cost
  }

  /// Adds to the bytes that averaging has sent; those that stay on a node of two levels are no traffic of a network.
  func note(sent bytes: Int, onNode: Bool) {
    guard !onNode else { return }
    condition.lock()
    cost.bytesSent += bytes
    condition.unlock()
  }

  /// Ends all ranks. Work in the queue is left undone.
  func abort(code: Int32) -> Never {
    condition.lock()
    queue.insert(MPIAction("MPI_Abort") { Self.abort(code: code) }, at: 0)
    condition.broadcast()
    condition.unlock()
    sleep(10)
    _exit(code)
  }

  /// Leaves MPI. Collective; what was submitted before is done first.
  func end() throws {
    let work = MPIAction("MPI_Finalize") { [self] in
      watch?.stop()
      watch = nil
      try checkedMPI("MPI_Win_free") { eagle_mpi_window_free(&context.counter) }
      try checkedMPI("MPI_Finalize") { eagle_mpi_finish() }
    }
    condition.lock()
    precondition(!isEnding, "an MPI call after the cluster was left")
    queue.append(work)
    // Before it can start, so that the thread makes no call after it.
    isEnding = true
    condition.broadcast()
    condition.unlock()
    try wait(for: [work])
  }

  // MARK: the thread

  private func loop() {
    while take() {
      let before = DispatchTime.now().uptimeNanoseconds
      advance()
      if active.isEmpty { _ = eagle_mpi_poke(context.control) }
      if context.size > 1, let silent = watch?.look(ticks: heard(), isWaiting: isAwaited) { giveUp(silent) }
      pause()
      note(seconds: Double(DispatchTime.now().uptimeNanoseconds - before) * 1e-9)
    }
  }

  private var isAwaited: Bool {
    condition.lock()
    defer { condition.unlock() }
    return waiters > 0
  }

  private func heard() -> Int64 {
    condition.lock()
    defer { condition.unlock() }
    return ticks
  }

  /// Starts what was submitted; false once all is done and nothing more can come.
  ///
  /// Work that must wait blocks only its own kind: sums of gradients, which use communicators of their own, let small
  /// calls and states of other nodes pass.
  private func take() -> Bool {
    condition.lock()
    while let index = nextToStart {
      let next = queue.remove(at: index)
      condition.unlock()
      begin(next)
      condition.lock()
    }
    defer { condition.unlock() }
    return !(isEnding && queue.isEmpty && active.isEmpty)
  }

  /// The first in the queue that may start, with none of its kind before it.
  private var nextToStart: Int? {
    // The end waits for all that was submitted before it.
    if isEnding, queue.count == 1, !active.isEmpty { return nil }
    var isBlocked = false
    for (index, work) in queue.enumerated()
    where !(isBlocked && work.isAveraging) && !(isEnding && index > 0 && index + 1 == queue.count) {
      if work.canStart(self) { return index }
      isBlocked = true
    }
    return nil
  }

  private func begin(_ work: MPIWork) {
    do {
      try work.start(self)
      if work is MPIAction { finish(work) } else { active.append(work) }
    } catch {
      finish(work, error)
    }
  }

  private func advance() {
    var unfinished: [MPIWork] = []
    for work in active {
      do {
        if try work.advance(self) { finish(work) } else { unfinished.append(work) }
      } catch {
        finish(work, error)
      }
    }
    if unfinished.count < active.count { yields = 0 }
    active = unfinished
  }

  private func finish(_ work: MPIWork, _ failure: (any Error)? = nil) {
    condition.lock()
    work.complete(with: failure)
    condition.broadcast()
    condition.unlock()
  }

  /// While a thread waits for a result, this thread at first only yields the core; otherwise it sleeps, since the cores
  /// are for the threads that compute.
  private func pause() {
    condition.lock()
    let isAwaited = waiters > 0
    if active.isEmpty {
      if queue.isEmpty && !isEnding { _ = condition.wait(until: .init(in: Self.idlePause)) }
      condition.unlock()
      return
    }
    condition.unlock()
    yields += 1
    if isAwaited && yields < 2000 { sched_yield() } else { usleep(Self.busyPause) }
  }

  private func note(seconds: Double) {
    guard active.contains(where: \.isAveraging) else { return }
    condition.lock()
    cost.seconds += seconds
    condition.unlock()
  }

  private func giveUp(_ reason: String) {
    Output.note("Error: \(reason)")
    Self.abort(code: 1)
  }

  /// Ends all ranks; this one in any case, even if the launcher cannot be reached any more.
  private static func abort(code: Int32) {
    let last = Thread {
      sleep(10)
      _exit(code)
    }
    last.start()
    eagle_mpi_abort(code)
    _exit(code)
  }
}
