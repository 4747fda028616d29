import Foundation

/// The jobs that wait, first come, first served, up to a limit. Any thread may use it.
package final class RequestQueue: @unchecked Sendable {
  package enum Admission: Equatable {
    case admitted
    /// The queue is full; so many wait.
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

  /// The number of jobs that wait.
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

  /// The job that has waited longest. Waits for one; nil when the queue is closed and empty.
  package func next() -> Job? {
    locked {
      while waiting.isEmpty && !isClosed { condition.wait() }
      return waiting.isEmpty ? nil : waiting.removeFirst()
    }
  }

  /// The job that has waited longest, if there is one that may begin. None overtakes it, so a long text gets its turn.
  package func poll(where mayBegin: (Job) -> Bool = { _ in true }) -> Job? {
    locked {
      guard let first = waiting.first, mayBegin(first) else { return nil }
      return waiting.removeFirst()
    }
  }

  /// Takes a job out, which frees its slot. False when its turn has come already.
  package func remove(_ job: Job) -> Bool {
    locked {
      guard let index = waiting.firstIndex(where: { $0 === job }) else { return false }
      waiting.remove(at: index)
      return true
    }
  }

  /// Takes no more jobs. Those that wait still get their turn.
  package func close() {
    locked {
      isClosed = true
      condition.broadcast()
    }
  }

  /// Takes all jobs out.
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
