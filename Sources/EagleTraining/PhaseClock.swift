import EagleTensor

/// A part of the work whose time is told apart.
public enum Phase: String, CaseIterable, Sendable, Codable {
  /// Captured states from their shards.
  case reading
  /// The target's distributions at the teacher positions.
  case teacher
  case draftForward = "draft_forward"
  /// LM head, loss and their gradients: one op.
  case headAndLoss = "head_and_loss"
  /// Everything else on the way back.
  case backward
  /// Waiting for, and adding up with, the other ranks.
  case communication
  case optimiser
  /// Copying what a checkpoint holds, and waiting for the one before.
  case checkpoint
  /// The target's layers.
  case target
  /// The target's choice and log-sum-exp over the full vocabulary.
  case targetHead = "target_head"
  /// States to their shards.
  case writing
}

/// Seconds by phase, added up until `reset`. For one thread: the one that leads the work.
public final class PhaseClock {
  private let clock = ContinuousClock()
  public private(set) var seconds: [Phase: Double] = [:]

  public init() {}

  /// Runs `body` and counts its time to `phase`.
  public func measure<T>(_ phase: Phase, _ body: () throws -> T) rethrows -> T {
    let start = clock.now
    defer { seconds[phase, default: 0] += start.duration(to: clock.now).inSeconds }
    return try body()
  }

  /// Counts time that was taken otherwise.
  func add(_ time: Double, to phase: Phase) { seconds[phase, default: 0] += time }

  public func reset() { seconds = [:] }

  /// Under the names that files use.
  public var named: [String: Double] {
    Dictionary(uniqueKeysWithValues: seconds.map { ($0.key.rawValue, $0.value) })
  }
}
