import EagleCluster

/// The lengths and offsets of all ranks' parts of a buffer, in bytes. MPI reads them until the request is done, so they
/// have an address that stays.
final class Layout {
  let counts: UnsafeMutablePointer<Int32>
  let starts: UnsafeMutablePointer<Int32>

  init(ranks: Int, _ part: (Int) -> (count: Int32, start: Int32)) {
    counts = .allocate(capacity: ranks)
    starts = .allocate(capacity: ranks)
    for rank in 0..<ranks { (counts[rank], starts[rank]) = part(rank) }
  }

  convenience init(_ slices: Slices, elementBytes: Int) {
    self.init(ranks: slices.ranks) {
      (Int32(slices[$0].count * elementBytes), Int32(slices[$0].lowerBound * elementBytes))
    }
  }

  deinit {
    counts.deallocate()
    starts.deallocate()
  }
}
