import CEagleKernels
import EagleTensor
import Foundation
import Synchronization
import Testing

/// A test that changes the number of threads runs in a process of its own, because other tests compare bits meanwhile,
/// and some sums depend on that number.
@Suite(.serialized) struct ParallelTests {
  /// Every index is computed once, on any thread and for any partition of the range.
  @Test("each index of a loop is computed once, however the range is cut") func everyIndexIsDoneOnce() {
    for count in [1, 2, 7, 48, 1000, 4999] {
      for (grain, dynamic) in [(1, false), (1, true), (7, true), (64, false), (5000, true)] {
        #expect(isComplete(count, grain, dynamic), "\(count) in tasks of \(grain)")
      }
    }
  }

  /// Guided self-scheduling: every index is computed once, on threads with different numbers.
  @Test("guided self-scheduling computes each index once, on threads with different numbers")
  func guidedTasksCoverEveryIndexOnce() async {
    await #expect(processExitsWith: .success) {
      for count in [2, 3, 5] {
        Parallel.threadCount = count
        for indices in [1, 11, 12, 13, 100, 4999] {
          for grain in [1, 12, 5000] {
            let loop = GuidedLoop(indices)
            loop.run(grain: grain)
            #expect(loop.isComplete && !loop.numbersClash, "\(indices) in tasks of \(grain), \(count) threads")
          }
        }
      }
    }
  }

  private final class GuidedLoop {
    private let done: Tensor
    /// Threads that joined with each number.
    private let joined: UnsafeMutablePointer<Int32>

    init(_ indices: Int) {
      done = .zeros([indices])
      joined = .allocate(capacity: 1 << 15)
      joined.initialize(repeating: 0, count: 1 << 15)
    }

    deinit { joined.deallocate() }

    var isComplete: Bool { done.values.allSatisfy { $0 == 1 } }
    var numbersClash: Bool { (0..<1 << 15).contains { joined[$0] > 1 } }

    func run(grain: Int) {
      var context = (done.floats, joined)
      eagle_parallel_for(
        Int64(done.count), Int64(grain), EAGLE_GUIDED,
        { context, tasks in
          let (done, joined) = context!.load(as: (UnsafeMutablePointer<Float>, UnsafeMutablePointer<Int32>).self)
          joined[Int(tasks!.pointee.thread)] += 1
          var (begin, end) = (Int64(0), Int64(0))
          while eagle_next_task(tasks, &begin, &end) != 0 {
            for index in begin..<end { done[Int(index)] += 1 }
            usleep(20)
          }
        }, &context)
    }
  }

  /// A nested loop runs on the thread that reaches it, and concurrent loops do not take one another's tasks.
  @Test("nested and concurrent loops compute each index once") func loopsWithinLoopsAndBesideThem() {
    let results = Mutex([Bool]())
    let threads = (0..<4).map { _ in
      let thread = Thread {
        for _ in 0..<200 {
          let own = self.isComplete(100, 3, true)
          results.withLock { $0.append(own) }
        }
      }
      thread.start()
      return thread
    }
    Parallel.forEachRange(40, grain: 1, dynamic: true) { range in
      let inner = range.map { isComplete($0 + 1, 2, true) }
      results.withLock { $0 += inner }
    }
    while threads.contains(where: { !$0.isFinished }) { usleep(1000) }
    #expect(results.withLock { $0.count == 840 && $0.allSatisfy { $0 } })
  }

  @Test("a loop is complete when its workers were asleep") func workersThatSleepAreWoken() {
    for _ in 0..<20 {
      usleep(3000)  // longer than workers spin before they sleep
      #expect(isComplete(500, 1, true))
    }
  }

  /// Workers take tasks, also after their number was lowered and raised again.
  @Test("workers take tasks, also after their number has changed") func otherThreadsTakeTasks() async {
    await #expect(processExitsWith: .success) {
      for count in [4, 2, 3] {
        Parallel.threadCount = count
        let seen = Mutex(Set<UInt>())
        Parallel.forEachRange(64, grain: 1, dynamic: true) { _ in
          seen.withLock { _ = $0.insert(UInt(pthread_self())) }
          // A busy machine wakes a worker late.
          for _ in 0..<20_000 where seen.withLock({ $0.count < 2 }) { usleep(500) }
        }
        #expect(seen.withLock { $0.count } >= 2)
      }
    }
  }

  private func isComplete(_ count: Int, _ grain: Int, _ dynamic: Bool) -> Bool {
    let done = Tensor.zeros([count])
    let total = Atomic(0)
    Parallel.forEachRange(count, grain: grain, dynamic: dynamic) { range in
      total.add(range.count, ordering: .relaxed)
      for index in range { done.floats[index] += 1 }
    }
    return total.load(ordering: .relaxed) == count && done.values.allSatisfy { $0 == 1 }
  }
}
