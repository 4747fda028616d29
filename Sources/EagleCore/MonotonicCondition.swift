import Foundation

/// A mutex with a condition whose timeouts follow the monotonic clock. A reference type.
///
/// `NSCondition.wait(until:)` follows the wall clock: when that is set back while a thread waits, the thread waits for
/// as much longer. A rank that slept so would miss its heartbeats.
package final class MonotonicCondition: @unchecked Sendable {
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

  /// A time of the monotonic clock.
  package struct Deadline: Sendable {
    fileprivate var time = timespec()

    /// - Parameter seconds: from now on; more than a century counts as one
    package init(in seconds: Double) {
      var now = timespec()
      check(clock_gettime(CLOCK_MONOTONIC, &now))
      self.init(in: seconds, after: now)
    }

    package init(in seconds: Double, after now: timespec) {
      let seconds = min(max(0, seconds), 3e9)
      let nanoseconds = now.tv_nsec + Int(seconds.truncatingRemainder(dividingBy: 1) * 1e9)
      time = timespec(
        tv_sec: now.tv_sec + Int(seconds) + nanoseconds / 1_000_000_000, tv_nsec: nanoseconds % 1_000_000_000)
    }

    /// Seconds and nanoseconds of the clock.
    package var parts: (seconds: Int, nanoseconds: Int) { (time.tv_sec, time.tv_nsec) }
  }

  package init() {
    var attributes = pthread_condattr_t()
    check(pthread_condattr_init(&attributes))
    check(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC))
    check(pthread_mutex_init(mutex, nil))
    check(pthread_cond_init(condition, &attributes))
    check(pthread_condattr_destroy(&attributes))
  }

  deinit {
    pthread_cond_destroy(condition)
    pthread_mutex_destroy(mutex)
    condition.deallocate()
    mutex.deallocate()
  }

  package func lock() { check(pthread_mutex_lock(mutex)) }

  package func unlock() { check(pthread_mutex_unlock(mutex)) }

  package func withLock<Value>(_ body: () throws -> Value) rethrows -> Value {
    lock()
    defer { unlock() }
    return try body()
  }

  /// Wakes one waiting thread.
  package func signal() { check(pthread_cond_signal(condition)) }

  /// Wakes all waiting threads.
  package func broadcast() { check(pthread_cond_broadcast(condition)) }

  /// Leaves the lock, waits to be woken, and takes the lock again. It may wake without a cause.
  package func wait() { check(pthread_cond_wait(condition, mutex)) }

  /// Waits as `wait()` does, but not beyond the deadline.
  ///
  /// - Returns: false when the deadline has passed
  package func wait(until deadline: Deadline) -> Bool {
    var time = deadline.time
    let status = pthread_cond_timedwait(condition, mutex, &time)
    if status == ETIMEDOUT { return false }
    check(status)
    return true
  }
}

/// These calls fail only where this file uses them wrongly.
private func check(_ status: Int32) { precondition(status == 0, "a thread call failed with status \(status)") }
