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

  /// A shard begins. The estimate moves into the range only as far as it must, so a line rarely shows less than the
  /// one before.
  ///
  /// - Parameter possible: the fewest and the most tokens that all ranks can have done
  mutating func begin(within possible: ClosedRange<Int>) {
    done = min(max(done, possible.lowerBound), possible.upperBound)
    note()
  }

  /// The other ranks are taken to be as fast as this one, until the next shard tells how far they are.
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
