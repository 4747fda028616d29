import EagleCore

/// A queue of values from other threads to one thread that waits for them. A reference type.
package final class Mailbox<Value: Sendable>: @unchecked Sendable {
  private let condition = MonotonicCondition()
  private var values: [Value] = []

  package init() {}

  package func send(_ value: Value) {
    condition.withLock { values.append(value) }
    condition.signal()
  }

  /// All values sent since the last call, in order; empty if none arrives in time.
  package func receive(within seconds: Double) -> [Value] {
    let end = MonotonicCondition.Deadline(in: seconds)
    return condition.withLock {
      while values.isEmpty, condition.wait(until: end) {}
      defer { values = [] }
      return values
    }
  }
}
