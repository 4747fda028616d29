import EagleCluster

/// A heartbeat: the progress of a rank.
package struct Beat: Equatable, Sendable {
  /// Grows with everything that the rank does.
  package var ticks: Int64
  /// Whether the rank waits for others: 0 or 1, in a size that travels between hosts.
  package var waits: Int64

  package init(ticks: Int64 = 0, isWaiting: Bool = false) {
    self.ticks = ticks
    waits = isWaiting ? 1 : 0
  }

  package var isWaiting: Bool { waits != 0 }
}

/// The state of the ranks as their heartbeats show it, and the decision to give one up.
///
/// A rank has stalled when it has neither ticked nor waited for `limits.stall` seconds, and another rank has waited,
/// without a tick, for as long. Ranks that all compute delay no rank, however long they take.
package struct RankLedger {
  /// The reason to give the run up. Ranks are the numbers that `init` got.
  package enum Verdict: Equatable, Sendable {
    case silent(rank: Int)
    /// A rank makes no progress; `waiting` is a rank that waits for it.
    case stalled(rank: Int, waiting: Int)
  }

  /// One rank. Times are in seconds of any one clock.
  private struct Entry {
    var beat = Beat()
    /// Time of its last beat.
    var heard: Double
    /// Time at which it last ticked or waited.
    var moved: Double
    /// Begin of its present wait; nil while it works.
    var waitsSince: Double?
  }

  package var limits: RankLimits
  private var entries: [Int: Entry]

  /// A ledger in which every rank was heard, and worked, at `now`.
  package init(ranks: [Int], limits: RankLimits, now: Double) {
    self.limits = limits
    entries = Dictionary(uniqueKeysWithValues: ranks.map { ($0, Entry(heard: now, moved: now)) })
  }

  /// Notes a beat of `rank` that arrived at `now`.
  package mutating func note(_ beat: Beat, of rank: Int, at now: Double) {
    guard var entry = entries[rank] else { return }
    let hasTicked = beat.ticks != entry.beat.ticks
    if hasTicked || beat.isWaiting { entry.moved = now }
    if hasTicked || !beat.isWaiting { entry.waitsSince = nil }
    if beat.isWaiting { entry.waitsSince = entry.waitsSince ?? now }
    (entry.beat, entry.heard) = (beat, now)
    entries[rank] = entry
  }

  /// Starts all times anew, in a process that was itself stopped and has missed the others' beats.
  package mutating func forgive(at now: Double) {
    for rank in entries.keys {
      entries[rank]?.heard = now
      entries[rank]?.moved = now
      if entries[rank]?.waitsSince != nil { entries[rank]?.waitsSince = now }
    }
  }

  /// The rank with the smallest number that has not been heard from for `limits.silence` seconds.
  package func silent(at now: Double) -> Verdict? {
    entries.filter { now - $0.value.heard > limits.silence }.keys.min().map { .silent(rank: $0) }
  }

  /// The rank with the smallest number that has made no progress for `limits.stall` seconds, while another one has
  /// waited for as long. Only beats count: what a rank has done since its last one is not known.
  package var stalled: Verdict? {
    let waiting = entries.filter { $0.value.heard - ($0.value.waitsSince ?? .infinity) > limits.stall }.keys.min()
    let stalled = entries.filter { $0.value.heard - $0.value.moved > limits.stall }.keys.min()
    guard let waiting, let stalled else { return nil }
    return .stalled(rank: stalled, waiting: waiting)
  }
}
