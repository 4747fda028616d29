import EagleCore
import Foundation
import Testing

@Suite struct MonotonicConditionTests {
  @Test("a deadline carries nanoseconds into seconds, and a far or odd one is a century or now")
  func deadlines() {
    let now = timespec(tv_sec: 100, tv_nsec: 900_000_000)
    func parts(_ seconds: Double) -> [Int] {
      let parts = MonotonicCondition.Deadline(in: seconds, after: now).parts
      return [parts.seconds, parts.nanoseconds]
    }
    #expect(parts(0) == [100, 900_000_000] && parts(-5) == [100, 900_000_000])
    #expect(parts(1.25) == [102, 150_000_000] && parts(0.0625) == [100, 962_500_000])
    #expect(parts(.infinity) == [3_000_000_100, 900_000_000])
  }

  @Test("a wait without a signal ends behind its deadline")
  func timeout() {
    let condition = MonotonicCondition()
    let start = ContinuousClock.now
    condition.withLock {
      let end = MonotonicCondition.Deadline(in: 0.02)
      while condition.wait(until: end) {}
    }
    #expect(start.duration(to: .now) >= .milliseconds(20))
  }

  @Test("a signal wakes a waiting thread, a broadcast all")
  func wakes() {
    let (condition, state) = (MonotonicCondition(), State())
    for _ in 0..<4 {
      let thread = Thread {
        condition.withLock {
          state.waiting += 1
          while state.tickets == 0 { condition.wait() }
          state.tickets -= 1
          state.done += 1
          condition.broadcast()
        }
      }
      thread.start()
    }
    /// Whether this many are done within half a minute.
    func reaches(_ count: Int) -> Bool {
      condition.withLock {
        let end = MonotonicCondition.Deadline(in: 30)
        while state.done < count, condition.wait(until: end) {}
        return state.done == count
      }
    }
    for _ in 0..<30_000 where condition.withLock({ state.waiting < 4 }) { usleep(1000) }
    condition.withLock { state.tickets = 1 }
    condition.signal()
    #expect(reaches(1))
    condition.withLock { state.tickets = 3 }
    condition.broadcast()
    #expect(reaches(4))
  }

  private final class State: @unchecked Sendable {
    var (waiting, tickets, done) = (0, 0, 0)
  }
}
