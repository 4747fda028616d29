import EagleCore

/// Values that other threads send to one that waits for them. A reference type.
package final class Mailbox<Value: Sendable>: @unchecked Sendable {
  private let condition = MonotonicCondition()
  private var values: [Value] = []

  package init() {}

  package func send(_ value: Value) {
    condition.withLock { values.append(value) }
    condition.signal()
  }

  /// Everything that was sent since the last call, in order; empty when nothing comes in time.
  package func receive(within seconds: Double) -> [Value] {
    let end = MonotonicCondition.Deadline(in: seconds)
    return condition.withLock {
      while values.isEmpty, condition.wait(until: end) {}
      defer { values = [] }
      return values
    }
  }
}
