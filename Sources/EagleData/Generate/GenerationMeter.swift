import EagleCluster
import EagleCore

/// The counts of what a rank has generated.
struct GenerationCounts {
  var conversations = 0
  var answers = 0
  var tokens = 0
  /// Answers that were cut at the limit.
  var cut = 0
  /// Answers that end in a loop.
  var looping = 0
  /// Conversations whose next prompt would be too long.
  var tooLong = 0
  /// Conversations that are incomplete because a server rejected one of their requests.
  var refused = 0
  /// Conversations that a server failed to answer, and may answer later.
  var failed = 0

  mutating func add(_ text: GeneratedText) {
    answers += 1
    tokens += text.tokenCount
  }

  static func + (a: GenerationCounts, b: GenerationCounts) -> GenerationCounts {
    GenerationCounts(zip(a.all, b.all).map(+))
  }

  private var all: [Int64] {
    [conversations, answers, tokens, cut, looping, tooLong, refused, failed].map(Int64.init)
  }

  init() {}

  private init(_ all: [Int64]) {
    let all = all.map { Int($0) }
    (conversations, answers, tokens, cut) = (all[0], all[1], all[2], all[3])
    (looping, tooLong, refused, failed) = (all[4], all[5], all[6], all[7])
  }

  /// The counts of all ranks together. Collective.
  func sum(over cluster: any Communicator) throws -> GenerationCounts {
    GenerationCounts(try cluster.allReduceSum(all))
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
    let left = [(counts.tooLong, "too long"), (counts.refused, "refused"), (counts.failed, "failed")]
      .filter { $0.0 > 0 }.map { ", \(Format.count($0.0, "conversation")) \($0.1)" }.joined()
    return ": \(counts.answers) new answers (\(counts.cut) cut, \(counts.looping) looping), \(counts.tokens) tokens, "
      + "\(rate(counts)) tokens/s\(left)"
  }

  /// Tokens per second since the meter was created.
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
