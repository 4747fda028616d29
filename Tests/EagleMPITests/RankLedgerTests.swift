import EagleCluster
import EagleMPI
import Testing

/// Heartbeats of three ranks every two seconds, each with the rank's current phase.
@Suite struct RankLedgerTests {
  private enum Doing {
    case working, ticking, waiting
  }

  private var ledger = RankLedger(ranks: [0, 1, 2], limits: RankLimits(silence: 60, stall: 100), now: 0)

  /// Sends heartbeats of the ranks until `end`; nil is a silent rank.
  private mutating func beat(_ doing: [Doing?], from start: Int, to end: Int) {
    for now in stride(from: start, through: end, by: 2) {
      for (rank, doing) in doing.enumerated() {
        guard let doing else { continue }
        let ticks = doing == .ticking ? Int64(now) : 0
        ledger.note(Beat(ticks: ticks, isWaiting: doing == .waiting), of: rank, at: Double(now))
      }
    }
  }

  @Test("ranks that all compute for longer than the stall time are left alone")
  mutating func busyRanksGoOn() {
    beat([.working, .working, .working], from: 2, to: 10_000)
    #expect(ledger.stalled == nil)
    beat([.working, .working, .ticking], from: 10_002, to: 20_000)
    #expect(ledger.stalled == nil)
  }

  @Test("a rank without progress is given up once another has waited for the whole stall time", arguments: [0, 1, 2])
  mutating func aStalledRankIsNamed(rank: Int) {
    var doing: [Doing] = [.waiting, .waiting, .waiting]
    doing[rank] = .working
    beat(doing, from: 2, to: 102)
    #expect(ledger.stalled == nil)
    beat(doing, from: 104, to: 104)
    #expect(ledger.stalled == .stalled(rank: rank, waiting: rank == 0 ? 1 : 0))
    #expect(ledger.silent(at: 104) == nil)
  }

  @Test("the stall time begins with the wait, not with the work that it waits for")
  mutating func theWaitCounts() {
    beat([.working, .working, .working], from: 2, to: 5_000)
    beat([.waiting, .working, .working], from: 5_002, to: 5_100)
    #expect(ledger.stalled == nil)
    beat([.waiting, .working, .working], from: 5_102, to: 5_104)
    #expect(ledger.stalled == .stalled(rank: 1, waiting: 0))
  }

  @Test("a rank that ticks is not given up, however long others wait")
  mutating func progressIsEnough() {
    beat([.waiting, .ticking, .waiting], from: 2, to: 10_000)
    #expect(ledger.stalled == nil)
  }

  @Test("a rank that is seen waiting again and again, with ticks in between, waits for nobody for long")
  mutating func shortWaitsDoNotAdd() {
    for now in stride(from: 2.0, through: 1_000, by: 2) {
      ledger.note(Beat(ticks: Int64(now), isWaiting: true), of: 0, at: now)
      ledger.note(Beat(), of: 1, at: now)
    }
    #expect(ledger.stalled == nil)
  }

  @Test("ranks that all wait, as in a slow collective call, are left alone")
  mutating func aSlowCallIsNoStall() {
    beat([.waiting, .waiting, .waiting], from: 2, to: 10_000)
    #expect(ledger.stalled == nil)
  }

  @Test("a rank that was waiting when it was last heard has not stalled, however long ago that was")
  mutating func onlyBeatsTell() {
    beat([.ticking, .waiting, .waiting], from: 2, to: 200)
    beat([.ticking, nil, .waiting], from: 202, to: 10_000)
    #expect(ledger.stalled == nil)
    #expect(ledger.silent(at: 10_000) == .silent(rank: 1))
  }

  @Test("a rank that sends nothing is silent")
  mutating func silenceIsNoticed() {
    beat([.ticking, nil, .ticking], from: 2, to: 62)
    #expect(ledger.silent(at: 60) == nil)
    #expect(ledger.silent(at: 62) == .silent(rank: 1))
  }

  @Test("a process that was stopped itself gives the others their whole time again")
  mutating func aStoppedWatcherForgives() {
    beat([.waiting, .working, .working], from: 2, to: 90)
    ledger.forgive(at: 5_000)
    #expect(ledger.silent(at: 5_050) == nil)
    beat([.waiting, .working, .working], from: 5_002, to: 5_100)
    #expect(ledger.stalled == nil)
    beat([.waiting, .working, .working], from: 5_102, to: 5_104)
    #expect(ledger.stalled == .stalled(rank: 1, waiting: 0))
  }
}
