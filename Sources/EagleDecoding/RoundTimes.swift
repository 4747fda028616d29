import EagleDraft
import EagleRunFiles
import EagleTensor

/// The time of a generation's two phases.
enum Stopwatch {
  case off
  case prefill(since: ContinuousClock.Instant)
  case decoding(since: ContinuousClock.Instant)

  mutating func beginDecoding(_ statistics: inout DecodingStatistics) {
    stop(&statistics)
    self = .decoding(since: .now)
  }

  /// Records the seconds of the present phase.
  func stop(_ statistics: inout DecodingStatistics) {
    switch self {
    case .off: break
    case .prefill(let start): statistics.promptSeconds = start.duration(to: .now).inSeconds
    case .decoding(let start): statistics.decodeSeconds = start.duration(to: .now).inSeconds
    }
  }
}

/// The seconds of a round, by what they were spent on.
struct RoundTimes {
  var draft = 0.0
  var target = 0.0
  var choice = 0.0
}

/// A clock that divides a round into its parts.
struct RoundTimer {
  private(set) var times = RoundTimes()
  private var last = ContinuousClock.now

  /// Counts the time since the last call as that of a part.
  mutating func lap(_ part: WritableKeyPath<RoundTimes, Double>) {
    let now = ContinuousClock.now
    times[keyPath: part] += last.duration(to: now).inSeconds
    last = now
  }
}

extension DecodingStatistics {
  mutating func count(_ proposal: Proposal, _ result: VerificationResult, times: RoundTimes, hasDraft: Bool) {
    draftSeconds += times.draft
    targetSeconds += times.target
    choiceSeconds += times.choice
    targetPasses += 1
    targetRows += proposal.tokens.count
    if hasDraft { countRound(proposal, accepted: result.accepted) }
  }

  /// Subtracts accepted drafts of the last round that are not in the result, because the generation ended before them.
  mutating func dropAccepted(from taken: Int, of kept: Int) {
    for position in taken..<max(taken, min(kept, accepted.count)) { accepted[position] -= 1 }
  }

  private mutating func countRound(_ proposal: Proposal, accepted kept: Int) {
    rounds += 1
    draftPasses += proposal.passes
    draftedTokens += proposal.count
    let depth = proposal.depth
    proposed = Self.added(proposed, [Int](repeating: 1, count: depth))
    accepted = Self.added(accepted, (0..<depth).map { $0 < kept ? 1 : 0 })
  }
}
