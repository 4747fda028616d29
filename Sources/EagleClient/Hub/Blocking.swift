import Dispatch

/// An asynchronous call for a thread that may wait.
enum Blocking {
  private final class Box<Value: Sendable>: @unchecked Sendable { var value: Value? }

  /// A queue of its own: threads of the shared pool may all be waiting here.
  private final class Queue: TaskExecutor {
    private let queue = DispatchQueue(label: "eagle.hub")

    func enqueue(_ job: consuming ExecutorJob) {
      let job = UnownedJob(job)
      queue.async { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
  }

  /// Waits for the value.
  static func run<Value: Sendable>(_ body: @escaping @Sendable () async -> Value) -> Value {
    let (box, done) = (Box<Value>(), DispatchSemaphore(value: 0))
    Task.detached(executorPreference: Queue()) {
      box.value = await body()
      done.signal()
    }
    done.wait()
    return box.value!
  }
}
