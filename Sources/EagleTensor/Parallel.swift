import CEagleKernels

/// The threads of the process that compute; `OMP_NUM_THREADS` says how many, and those of oneDNN and OpenBLAS are as many.
public enum Parallel {
  public static var threadCount: Int {
    get { Int(eagle_thread_count()) }
    set { eagle_set_thread_count(Int32(newValue)) }
  }

  /// For the first line of a program: libgomp's threads, which wait for work of oneDNN and OpenBLAS, sleep after some microseconds,
  /// where they would keep their cores busy for milliseconds. `GOMP_SPINCOUNT` and `OMP_WAIT_POLICY`, where they are set, are left alone.
  public static func boundWaiting() { eagle_bound_waiting(CommandLine.unsafeArgv) }

  /// Runs `body` over `0..<count`, one contiguous piece of at least `grain` a thread, or with `dynamic` in pieces of
  /// `grain`, where a thread that has done its own share goes on with what others have left. `body` runs concurrently: pieces
  /// must write to disjoint places. The way in which the range is cut must not change what is computed.
  public static func forEachRange(_ count: Int, grain: Int, dynamic: Bool = false, _ body: (Range<Int>) -> Void) {
    withoutActuallyEscaping(body) { body in
      var box = Body(run: body)
      withUnsafeMutablePointer(to: &box) { pointer in
        eagle_parallel_for(
          Int64(count), Int64(grain), dynamic ? EAGLE_PIECES : EAGLE_EVEN,
          { context, pieces in
            // Once a thread: taking hold of it for each piece would cost as much as a small piece.
            let run = context!.assumingMemoryBound(to: Body.self).pointee.run
            var (begin, end) = (Int64(0), Int64(0))
            while eagle_next_piece(pieces, &begin, &end) != 0 { run(Int(begin)..<Int(end)) }
          }, pointer)
      }
    }
  }

  private struct Body { let run: (Range<Int>) -> Void }
}
