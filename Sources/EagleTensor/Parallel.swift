import CEagleKernels

/// The threads of the process that compute. `OMP_NUM_THREADS` sets their number, and that of oneDNN and OpenBLAS.
package enum Parallel {
  package static var threadCount: Int {
    get { Int(eagle_thread_count()) }
    set { eagle_set_thread_count(Int32(newValue)) }
  }

  /// Limits how long libgomp's threads, those of oneDNN and OpenBLAS, spin before they sleep: microseconds, where they
  /// would keep their cores busy for milliseconds. The first line of a program calls it. `GOMP_SPINCOUNT` and
  /// `OMP_WAIT_POLICY`, where they are set, are left alone.
  package static func boundWaiting() { eagle_limit_spinning(CommandLine.unsafeArgv) }

  /// Runs `body` over `0..<count`: tasks of equal size, at most one a thread and one for each `grain` begun, or with
  /// `dynamic` tasks of `grain`, where a thread that has done its own partition steals from the others'. `body` runs
  /// concurrently: tasks must write to disjoint memory. The division of the range must not change what is computed.
  package static func forEachRange(_ count: Int, grain: Int, dynamic: Bool = false, _ body: (Range<Int>) -> Void) {
    withoutActuallyEscaping(body) { body in
      var box = Body(run: body)
      withUnsafeMutablePointer(to: &box) { pointer in
        eagle_parallel_for(
          Int64(count), Int64(grain), dynamic ? EAGLE_DYNAMIC : EAGLE_STATIC,
          { context, tasks in
            // Once a thread: retaining it for each task would cost as much as a small task.
            let run = context!.assumingMemoryBound(to: Body.self).pointee.run
            var (begin, end) = (Int64(0), Int64(0))
            while eagle_next_task(tasks, &begin, &end) != 0 { run(Int(begin)..<Int(end)) }
          }, pointer)
      }
    }
  }

  /// Runs `body` with the loops in it on the calling thread alone, which leaves the pool to other threads.
  package static func alone<Result>(_ body: () throws -> Result) rethrows -> Result {
    eagle_work_alone(1)
    defer { eagle_work_alone(0) }
    return try body()
  }

  private struct Body { let run: (Range<Int>) -> Void }
}
