import Foundation

/// A mutex with a condition whose timeouts follow the monotonic clock. A reference type.
///
/// `NSCondition.wait(until:)` follows the wall clock: when that is set back while a thread waits, the thread waits for as much
/// longer. A rank that slept so would miss its heartbeats.
package final class MonotonicCondition: @unchecked Sendable {
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

  /// A point of the monotonic clock.
  package struct Deadline: Sendable {
    fileprivate var time = timespec()

    /// - Parameter seconds: from now on, 0 or more
    package init(in seconds: Double) {
      clock_gettime(CLOCK_MONOTONIC, &time)
      let whole = Int(seconds)
      time.tv_sec += whole
      time.tv_nsec += Int((seconds - Double(whole)) * 1e9)
      if time.tv_nsec >= 1_000_000_000 { (time.tv_sec, time.tv_nsec) = (time.tv_sec + 1, time.tv_nsec - 1_000_000_000) }
    }
  }

  package init() {
    var attributes = pthread_condattr_t()
    pthread_condattr_init(&attributes)
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(condition, &attributes)
    pthread_condattr_destroy(&attributes)
  }

  deinit {
    pthread_cond_destroy(condition)
    pthread_mutex_destroy(mutex)
    condition.deallocate()
    mutex.deallocate()
  }

  package func lock() { pthread_mutex_lock(mutex) }

  package func unlock() { pthread_mutex_unlock(mutex) }

  package func withLock<Value>(_ body: () throws -> Value) rethrows -> Value {
    lock()
    defer { unlock() }
    return try body()
  }

  /// Wakes one waiting thread.
  package func signal() { pthread_cond_signal(condition) }

  /// Wakes all waiting threads.
  package func broadcast() { pthread_cond_broadcast(condition) }

  /// Leaves the lock, waits to be woken, and takes the lock again. It may wake without a cause.
  package func wait() { pthread_cond_wait(condition, mutex) }

  /// Waits as `wait()` does, but not beyond the deadline.
  ///
  /// - Returns: false when the deadline has passed
  package func wait(until deadline: Deadline) -> Bool {
    var time = deadline.time
    return pthread_cond_timedwait(condition, mutex, &time) == 0
  }
}
