import EagleRunFiles

/// The times of checkpoints: after a number of steps or minutes, whichever comes first, and at the end of an epoch or
/// of the program.
struct CheckpointSchedule {
  private let steps: Int
  private let minutes: Double
  /// The step of the last written or read state, and the time.
  private var last = (step: 0, time: ContinuousClock.now)

  init(_ config: TrainConfig) { (steps, minutes) = (config.checkpointEvery, config.checkpointMinutes) }

  /// Whether the last checkpoint is older than the configured minutes.
  var isDueByTime: Bool { last.time.duration(to: .now).inSeconds >= 60 * minutes }

  func isDue(atStep step: Int) -> Bool { step % steps == 0 }

  /// The number of steps since the last checkpoint, at least 1.
  func steps(upTo step: Int) -> Int { max(1, step - last.step) }

  /// Records that the state of a step was written or read now.
  mutating func note(step: Int) { last = (step, .now) }
}
