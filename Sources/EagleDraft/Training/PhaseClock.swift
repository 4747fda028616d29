import EagleRunFiles

/// Seconds by phase, added up until `reset`. Only the thread that leads the work may use it.
package final class PhaseClock {
  private let clock = ContinuousClock()
  package private(set) var seconds: [Phase: Double] = [:]

  package init() {}

  /// Runs `body` and adds its seconds to `phase`.
  package func measure<T>(_ phase: Phase, _ body: () throws -> T) rethrows -> T {
    let start = clock.now
    defer { seconds[phase, default: 0] += start.duration(to: clock.now).inSeconds }
    return try body()
  }

  /// Adds seconds that were measured elsewhere to a phase.
  package func add(_ time: Double, to phase: Phase) { seconds[phase, default: 0] += time }

  /// Sets all phases to 0.
  package func reset() { seconds = [:] }

  /// Seconds by the name of the phase in files.
  package var named: [String: Double] {
    Dictionary(uniqueKeysWithValues: seconds.map { ($0.key.rawValue, $0.value) })
  }
}
