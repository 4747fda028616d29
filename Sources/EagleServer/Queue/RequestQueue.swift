import Foundation

/// A bounded FIFO queue of jobs. Any thread may use it.
package final class RequestQueue: @unchecked Sendable {
  package enum Admission: Equatable {
    case admitted
    /// The queue is full; the value is the number of waiting jobs.
    case full(Int)
    case closed
  }

  private let condition = NSCondition()
  private let capacity: Int
  private var waiting: [Job] = []
  private var isClosed = false

  package init(capacity: Int) {
    precondition(capacity > 0, "a queue for \(capacity)")
    self.capacity = capacity
  }

  /// The number of waiting jobs.
  package var count: Int { locked { waiting.count } }

  package func add(_ job: Job) -> Admission { add([job]) }

  /// Adds all or none of these.
  package func add(_ jobs: [Job]) -> Admission {
    locked {
      if isClosed { return .closed }
      guard waiting.count + jobs.count <= capacity else { return .full(waiting.count) }
      waiting += jobs
      condition.signal()
      return .admitted
    }
  }

  /// Removes the job that has waited longest. Blocks until there is one; nil when the queue is closed and empty.
  package func next() -> Job? {
    locked {
      while waiting.isEmpty && !isClosed { condition.wait() }
      return waiting.isEmpty ? nil : waiting.removeFirst()
    }
  }

  /// Removes the job that has waited longest, if it may begin. No other job overtakes it, so that a long sequence does
  /// not starve.
  package func poll(where mayBegin: (Job) -> Bool = { _ in true }) -> Job? {
    locked {
      guard let first = waiting.first, mayBegin(first) else { return nil }
      return waiting.removeFirst()
    }
  }

  /// Removes a job, which frees its slot. False if the job has already left the queue.
  package func remove(_ job: Job) -> Bool {
    locked {
      guard let index = waiting.firstIndex(where: { $0 === job }) else { return false }
      waiting.remove(at: index)
      return true
    }
  }

  /// Accepts no more jobs. Waiting jobs are still served.
  package func close() {
    locked {
      isClosed = true
      condition.broadcast()
    }
  }

  /// Removes all jobs.
  package func removeAll() -> [Job] {
    locked {
      defer { waiting = [] }
      return waiting
    }
  }

  private func locked<Value>(_ body: () -> Value) -> Value {
    condition.lock()
    defer { condition.unlock() }
    return body()
  }
}
