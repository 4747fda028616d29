import EagleCore
import EagleStorage
import Foundation

/// Writes checkpoints on a thread of its own, one at a time. Training continues meanwhile if the state is a copy. For
/// rank 0.
package final class CheckpointWriter {
  private let parent: String
  private let keep: Int
  private let say: (String) -> Void
  private let remove: @Sendable (String) throws -> Void
  private let outcome = Outcome()
  private var running: DispatchSemaphore?
  private var hasWarned = false

  /// The result of the last write; set by its thread.
  private final class Outcome: @unchecked Sendable {
    private let lock = NSLock()
    private var failure: (any Error)?
    private var leftover: (any Error)?

    func fail(_ error: any Error) { lock.withLock { failure = error } }

    /// Records that old checkpoints could not be removed.
    func leave(_ error: any Error) { lock.withLock { leftover = error } }

    func take() -> (failure: (any Error)?, leftover: (any Error)?) {
      lock.withLock {
        defer { (failure, leftover) = (nil, nil) }
        return (failure, leftover)
      }
    }
  }

  /// - Parameters:
  ///   - parent: folder of the run
  ///   - keep: the number of newest checkpoints to keep, in addition to the best
  ///   - say: called once when an old checkpoint cannot be removed, on the thread that calls `check`, `start` or
  ///     `finish`
  convenience init(parent: String, keep: Int, say: @escaping (String) -> Void = { _ in }) {
    self.init(parent: parent, keep: keep, say: say) { try AtomicFolder.remove($0) }
  }

  package init(
    parent: String, keep: Int, say: @escaping (String) -> Void, remove: @escaping @Sendable (String) throws -> Void
  ) {
    (self.parent, self.keep, self.say, self.remove) = (parent, keep, say, remove)
  }

  /// Starts to write. Waits for a running earlier write, and for this one if the state is not a copy.
  func start(_ state: TrainingCheckpoint.State, _ info: TrainingCheckpoint.Info) throws {
    try start(waits: !state.isCopy) { [parent] in try TrainingCheckpoint.write(state, info, parent: parent) }
  }

  /// The same for any function that writes a checkpoint to the folder of the run.
  package func start(waits: Bool, _ write: @escaping @Sendable () throws -> Void) throws {
    try finish()
    let done = DispatchSemaphore(value: 0)
    let thread = Thread { [parent, keep, remove, outcome] in
      do {
        try write()
        Self.prune(parent, keep, remove, outcome)
      } catch {
        outcome.fail(error)
      }
      done.signal()
    }
    thread.stackSize = 8 << 20
    thread.start()
    running = done
    if waits { try finish() }
  }

  /// The new checkpoint is already complete, so an error here must not end the run.
  private static func prune(
    _ parent: String, _ keep: Int, _ remove: (String) throws -> Void, _ outcome: Outcome
  ) {
    do {
      let best = try CheckpointFolder.target(of: "best", in: parent)
      let failures = try CheckpointFolder.prune(
        in: parent, keep: keep, also: Set([best].compactMap { $0 }), remove: remove)
      if let first = failures.first { outcome.leave(first) }
    } catch {
      outcome.leave(error)
    }
  }

  /// Throws if the last write has failed.
  package func check() throws {
    let (failure, leftover) = outcome.take()
    if let leftover, !hasWarned {
      hasWarned = true
      say("warning: an old checkpoint stays, \(leftover); training goes on, and each new checkpoint tries again")
    }
    if let failure { throw failure }
  }

  /// Waits until the last write is done, and throws if it has failed. There is no timeout: if the disk hangs, the other
  /// ranks detect that this one is silent.
  package func finish() throws {
    running?.wait()
    running = nil
    try check()
  }
}
