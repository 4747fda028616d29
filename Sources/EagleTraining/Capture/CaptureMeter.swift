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

  /// - Parameter done: tokens of the shards before
  mutating func begin(at done: Int) {
    self.done = done
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
