import Dispatch

/// Runs an asynchronous call on a thread that may block.
enum Blocking {
  private final class Box<Value: Sendable>: @unchecked Sendable { var value: Value? }

  /// A separate queue, because all threads of the shared pool may be blocked here.
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
