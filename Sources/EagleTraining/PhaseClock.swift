import EagleRunFiles

/// Seconds by phase, added up until `reset`. For one thread: the one that leads the work.
public final class PhaseClock {
  private let clock = ContinuousClock()
  public private(set) var seconds: [Phase: Double] = [:]

  public init() {}

  /// Runs `body` and counts its time to `phase`.
  public func measure<T>(_ phase: Phase, _ body: () throws -> T) rethrows -> T {
    let start = clock.now
    defer { seconds[phase, default: 0] += start.duration(to: clock.now).inSeconds }
    return try body()
  }

  /// Counts time that was taken otherwise.
  func add(_ time: Double, to phase: Phase) { seconds[phase, default: 0] += time }

  public func reset() { seconds = [:] }

  /// Under the names that files use.
  public var named: [String: Double] {
    Dictionary(uniqueKeysWithValues: seconds.map { ($0.key.rawValue, $0.value) })
  }
}
