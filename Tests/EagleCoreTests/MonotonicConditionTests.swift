import EagleCore
import Foundation
import Testing

@Suite struct MonotonicConditionTests {
  @Test("a wait ends at its deadline, and not before", arguments: [0, 0.02, 1.1])
  func deadline(seconds: Double) {
    let condition = MonotonicCondition()
    let start = ContinuousClock.now
    let isWoken = condition.withLock {
      let end = MonotonicCondition.Deadline(in: seconds)
      while condition.wait(until: end) {}
      return false
    }
    #expect(!isWoken && start.duration(to: .now) >= .seconds(seconds))
  }

  @Test("a signal wakes one waiting thread, a broadcast all")
  func wakes() {
    let (condition, box) = (MonotonicCondition(), Counter())
    for _ in 0..<4 {
      let thread = Thread {
        condition.lock()
        box.waiting += 1
        while box.tickets == 0 { condition.wait() }
        box.tickets -= 1
        box.done += 1
        condition.broadcast()
        condition.unlock()
      }
      thread.start()
    }
    func reach(_ isReached: () -> Bool) {
      condition.withLock {
        let end = MonotonicCondition.Deadline(in: 30)
        while !isReached(), condition.wait(until: end) {}
      }
    }
    while condition.withLock({ box.waiting < 4 }) { usleep(1000) }
    condition.withLock { box.tickets = 1 }
    condition.signal()
    reach { box.done == 1 }
    #expect(condition.withLock { box.done } == 1)
    condition.withLock { box.tickets = 3 }
    condition.broadcast()
    reach { box.done == 4 }
    #expect(condition.withLock { box.done } == 4)
  }

  private final class Counter: @unchecked Sendable {
    var (waiting, tickets, done) = (0, 0, 0)
  }
}
