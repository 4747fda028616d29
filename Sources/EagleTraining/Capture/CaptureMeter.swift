import EagleCore
import EagleRunFiles
import Foundation

/// The progress of a capture: tokens done, and the rate.
struct CaptureMeter {
  let progress: ProgressSink
  let total: Int
  let ranks: Int
  private var done = 0
  private var computed = 0
  private let clock = ContinuousClock()
  private let start = ContinuousClock().now

  init(progress: ProgressSink, total: Int, ranks: Int) {
    self.progress = progress
    self.total = total
    self.ranks = ranks
  }

  /// Called at the beginning of a shard. The estimate is clamped to the range, so that a line rarely shows less than
  /// the one before.
  ///
  /// - Parameter possible: the minimum and the maximum number of tokens that all ranks can have captured
  mutating func begin(within possible: ClosedRange<Int>) {
    done = min(max(done, possible.lowerBound), possible.upperBound)
    note()
  }

  /// Adds the tokens of this rank. The other ranks are assumed to be as fast, until the next shard corrects the
  /// estimate.
  mutating func add(_ tokens: Int) {
    done = min(total, done + tokens * ranks)
    computed += tokens
    note()
  }

  var rate: String {
    guard computed > 0 else { return "all of them were there" }
    return String(format: "%.0f tokens/s a rank", Double(computed) / start.duration(to: clock.now).inSeconds)
  }

  private func note() {
    progress.advance("capture", done: done, total: total, unit: "tokens", note: computed > 0 ? rate : "")
  }
}
