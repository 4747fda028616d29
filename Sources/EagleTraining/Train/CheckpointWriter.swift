import EagleStorage
import Foundation

/// Writes checkpoints on a thread of its own, one at a time, while training goes on if it may. For rank 0.
final class CheckpointWriter {
  private let parent: String
  private let keep: Int
  private let outcome = Outcome()
  private var running: DispatchSemaphore?

  /// What the last write came to; set by its thread.
  private final class Outcome: @unchecked Sendable {
    private let lock = NSLock()
    private var failure: (any Error)?

    func fail(_ error: any Error) { lock.withLock { failure = error } }

    func take() -> (any Error)? {
      lock.withLock {
        defer { failure = nil }
        return failure
      }
    }
  }

  /// - Parameters:
  ///   - parent: folder of the run
  ///   - keep: how many of the newest checkpoints stay, beside the best
  init(parent: String, keep: Int) {
    (self.parent, self.keep) = (parent, keep)
  }

  /// Starts to write; waits for the write before, if that is not done, and for this one when the state is no copy.
  func start(_ state: TrainingCheckpoint.State, _ info: TrainingCheckpoint.Info) throws {
    try finish()
    let done = DispatchSemaphore(value: 0)
    let thread = Thread { [parent, keep, outcome] in
      do {
        try TrainingCheckpoint.write(state, info, parent: parent)
        let best = try CheckpointFolder.target(of: "best", in: parent)
        try CheckpointFolder.prune(in: parent, keep: keep, also: Set([best].compactMap { $0 }))
      } catch {
        outcome.fail(error)
      }
      done.signal()
    }
    thread.stackSize = 8 << 20
    thread.start()
    running = done
    if !state.isCopy { try finish() }
  }

  /// Throws when the last write has failed.
  func check() throws {
    if let failure = outcome.take() { throw failure }
  }

  /// Waits until the last write is done, and throws when it has failed. A disk that hangs is for the other ranks to notice, by this
  /// one's silence.
  func finish() throws {
    running?.wait()
    running = nil
    try check()
  }
}
