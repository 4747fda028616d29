import EagleCluster
import EagleCore

/// The counts of what a rank has generated.
struct GenerationCounts {
  var conversations = 0
  var answers = 0
  var tokens = 0
  /// Answers broken off at the limit.
  var cut = 0
  /// Answers that end in a loop.
  var looping = 0
  /// Conversations whose next prompt would be too long.
  var tooLong = 0

  mutating func add(_ text: GeneratedText) {
    answers += 1
    tokens += text.ids.count
  }

  static func + (a: GenerationCounts, b: GenerationCounts) -> GenerationCounts {
    GenerationCounts(
      conversations: a.conversations + b.conversations, answers: a.answers + b.answers, tokens: a.tokens + b.tokens,
      cut: a.cut + b.cut, looping: a.looping + b.looping, tooLong: a.tooLong + b.tooLong)
  }

  /// The counts of all ranks together. Collective.
  func sum(over cluster: any Communicator) throws -> GenerationCounts {
    let counts = [conversations, answers, tokens, cut, looping, tooLong].map(Int64.init)
    let all = try cluster.allReduceSum(counts).map { Int($0) }
    return GenerationCounts(
      conversations: all[0], answers: all[1], tokens: all[2], cut: all[3], looping: all[4], tooLong: all[5])
  }
}

/// The progress of generation, and its speed.
struct GenerationMeter {
  let stage: String
  let total: Int
  let progress: ProgressSink
  private let clock = ContinuousClock()
  private let start = ContinuousClock().now

  init(stage: String, total: Int, progress: ProgressSink) {
    self.stage = stage
    self.total = total
    self.progress = progress
  }

  /// - Parameter counts: the counts of all ranks
  func summary(_ counts: GenerationCounts) -> String {
    let long = counts.tooLong > 0 ? ", \(counts.tooLong) conversations too long" : ""
    return ": \(counts.answers) new answers (\(counts.cut) cut, \(counts.looping) looping), \(counts.tokens) tokens, "
      + "\(rate(counts)) tokens/s\(long)"
  }

  /// Tokens a second since the meter was made.
  private func rate(_ counts: GenerationCounts) -> Int {
    Int(Double(counts.tokens) / max(1e-9, start.duration(to: clock.now).inSeconds))
  }

  /// - Parameters:
  ///   - counts: the counts of this rank
  ///   - done: an estimate of the conversations of all ranks
  func note(_ counts: GenerationCounts, done: Int) {
    progress.advance(
      stage, done: min(done, total), total: total, unit: "conversations",
      note: "\(rate(counts)) tokens/s and \(counts.tokens) tokens of this rank")
  }
}
