import EagleModels
import EagleTensor

// R batch rows of a pass · V vocabulary.

/// Passes of several sessions of one target together: one reading of the weights serves them all.
extension DecodingSession {
  /// Decides after each new token of a session whether its text goes on.
  package typealias OnToken = (DecodingSession, GeneratedToken) -> TokenDecision

  /// One pass over the next piece of each prompt. A session whose prompt is read gets its first token.
  package static func readPrompts(_ sessions: [DecodingSession], _ onToken: OnToken) {
    let sessions = ready(sessions, rows: { $0.promptRows.count })
    guard let target = sessions.first?.target else { return }
    let products = sessions[0].text!.options.promptProducts ?? target.precision.products
    let pass = Pass(sessions, rows: sessions.map { Array($0.text!.prompt[$0.promptRows]) })
    let states = pass.run(target, products)
    for (session, rows) in zip(sessions, pass.rows) { session.takePrompt(states.slice(rows), products) }
    let read = zip(sessions, pass.rows).filter { $0.0.hasReadPrompt }
    if read.isEmpty { return }
    let last = Rows.select(states.lastHidden, read.map { Int32($0.1.upperBound - 1) })
    let logits = target.logits(last, target.precision.decodingProducts)
    withExtendedLifetime(logits) {
      for (row, (session, _)) in read.enumerated() {
        session.takeFirstToken(logits, row: row) { onToken(session, $0) }
      }
    }
  }

  /// One round of each text: propose, verify in one batch-invariant pass, keep what agrees.
  package static func advance(_ sessions: [DecodingSession], _ onToken: OnToken) {
    let clock = ContinuousClock()
    let started = clock.now
    let (sessions, proposals) = propose(ready(sessions, rows: { $0.text!.options.plan.nodes + 1 }))
    guard let target = sessions.first?.target else { return }
    let drafted = clock.now
    let pass = Pass(sessions, rows: proposals.map(\.rows), trees: proposals.map(\.tree))
    let states = pass.run(target, target.precision.decodingProducts)
    let logits = target.logits(states.lastHidden, target.precision.decodingProducts)
    let checked = clock.now
    let verdicts = verdicts(sessions, proposals, logits, pass)
    let times = RoundTimes(
      draft: started.duration(to: drafted).inSeconds, target: drafted.duration(to: checked).inSeconds,
      choice: checked.duration(to: clock.now).inSeconds)
    for (index, session) in sessions.enumerated() {
      switch verdicts[index] {
      case .success(let verdict):
        session.keep(verdict, of: proposals[index], states.slice(pass.rows[index]), times) {
          onToken(session, $0)
        }
      case .failure(let error): session.drop(pass.rows[index].count, because: error)
      }
    }
  }

  /// Those that have addresses for their rows; the others have failed.
  private static func ready(_ sessions: [DecodingSession], rows: (DecodingSession) -> Int) -> [DecodingSession] {
    sessions.filter {
      $0.reserve(rows($0))
      return $0.isBusy
    }
  }

  /// What is proposed to each; a session whose draft gives no numbers has failed.
  private static func propose(_ sessions: [DecodingSession]) -> ([DecodingSession], [Proposal]) {
    var (going, proposals, rows): ([DecodingSession], [Proposal], Int) = ([], [], sessions.count)
    for session in sessions {
      do {
        let proposal = try session.propose(Company(texts: sessions.count, rows: rows - 1))
        rows += proposal.count
        going.append(session)
        proposals.append(proposal)
      } catch {
        session.drop(0, because: error)
      }
    }
    return (going, proposals)
  }

  /// Samples on all threads where there are several texts: it takes as long as their vocabulary is large.
  private static func verdicts(
    _ sessions: [DecodingSession], _ proposals: [Proposal], _ logits: Tensor, _ pass: Pass
  ) -> [Result<Verdict, any Error>] {
    let results = Verdicts(count: sessions.count)
    let work = VerdictWork(sessions: sessions, proposals: proposals, logits: logits, rows: pass.rows)
    Parallel.forEachRange(sessions.count, grain: 1, dynamic: true) { range in
      for index in range { results.set(index, work.verdict(index)) }
    }
    return results.all
  }

  /// The rows of several sessions, end to end.
  private struct Pass {
    let ids: [Int32]
    let segments: [Segment]
    /// Of each session.
    let rows: [Range<Int>]
    let layers: [Int]

    init(_ sessions: [DecodingSession], rows: [[Int32]], trees: [RowTree]? = nil) {
      var (ids, segments, ranges): ([Int32], [Segment], [Range<Int>]) = ([], [], [])
      for (index, session) in sessions.enumerated() {
        let range = ids.count..<ids.count + rows[index].count
        ids += rows[index]
        ranges.append(range)
        segments.append(
          trees.map { Segment(rows: range, cache: session.cache, tree: $0[index]) }
            ?? Segment(rows: range, cache: session.cache))
      }
      (self.ids, self.segments, self.rows) = (ids, segments, ranges)
      layers = sessions.lazy.compactMap { $0.drafter?.captureLayers }.first ?? []
    }

    func run(_ target: TargetModel, _ products: Products) -> TargetStates {
      target.forward(ids, segments: segments, captureLayers: layers, products)
    }
  }
}

/// What threads read while they verify: each its own session, and the logits of its rows.
private struct VerdictWork: @unchecked Sendable {
  let sessions: [DecodingSession]
  let proposals: [Proposal]
  let logits: Tensor
  let rows: [Range<Int>]

  func verdict(_ index: Int) -> Result<Verdict, any Error> {
    Result { try sessions[index].verdict(on: proposals[index], logits, firstRow: rows[index].lowerBound) }
  }
}

/// Results by index, each written by one thread.
private final class Verdicts: @unchecked Sendable {
  private let results: UnsafeMutableBufferPointer<Result<Verdict, any Error>>

  init(count: Int) {
    results = .allocate(capacity: count)
    results.initialize(repeating: .success(Verdict()))
  }

  deinit {
    results.deinitialize()
    results.deallocate()
  }

  func set(_ index: Int, _ result: Result<Verdict, any Error>) { results[index] = result }

  var all: [Result<Verdict, any Error>] { Array(results) }
}

/// The others in a pass.
package struct Company: Sendable, Equatable {
  /// Texts in the pass, this one included.
  package var texts = 1
  /// Rows of the others.
  package var rows = 0

  package init(texts: Int = 1, rows: Int = 0) { (self.texts, self.rows) = (texts, rows) }

  /// Texts that may draft together. With more of them a row costs as much as a token is worth.
  package static let mostDrafting = 4

  var mayDraft: Bool { texts <= Self.mostDrafting }
}

extension TargetStates {
  /// Some consecutive rows.
  func slice(_ range: Range<Int>) -> TargetStates {
    TargetStates(auxHidden: auxHidden?.slice(range), lastHidden: lastHidden.slice(range))
  }
}
