import EagleTensor
import Testing

@Suite struct BufferPoolTests {
  /// Takes `count` blocks of a size at once and gives them back.
  private func use(_ pool: BufferPool, _ size: Int, count: Int = 1) {
    let blocks = (0..<count).map { _ in pool.take(size) }
    for block in blocks { pool.give(block, size) }
  }

  @Test("a block that was given back is taken again")
  func blocksAreReused() {
    let pool = BufferPool(limit: 1 << 20)
    let block = pool.take(4096)
    pool.give(block, 4096)
    #expect(pool.freeBytes == 4096 && pool.freeBlocks(of: 4096) == 1)
    #expect(pool.take(4000) == block && pool.freeBytes == 0)
    pool.give(block, 4000)
    pool.empty()
    #expect(pool.freeBytes == 0)
  }

  @Test("beyond the limit the size that was used least recently makes way")
  func theLeastRecentlyUsedSizeGoes() {
    let pool = BufferPool(limit: 64 << 10)
    defer { pool.empty() }
    use(pool, 8 << 10, count: 4)
    use(pool, 16 << 10, count: 2)
    #expect(pool.freeBytes == 64 << 10)
    // 8 KiB is used again, so that 16 KiB is the older size now.
    use(pool, 8 << 10)
    use(pool, 4 << 10, count: 3)
    #expect(pool.freeBlocks(of: 4 << 10) == 3 && pool.freeBlocks(of: 8 << 10) == 4)
    #expect(pool.freeBlocks(of: 16 << 10) == 1 && pool.freeBytes <= 64 << 10)
  }

  @Test("a new phase of work replaces the blocks of the phase before, and then allocates nothing")
  func aNewPhaseReplacesTheOld() {
    let pool = BufferPool(limit: 64 << 10)
    defer { pool.empty() }
    use(pool, 32 << 10, count: 2)
    for _ in 0..<3 { for size in [12, 20, 28] { use(pool, size << 10) } }
    #expect(pool.freeBlocks(of: 32 << 10) == 0)
    for size in [12, 20, 28] { #expect(pool.freeBlocks(of: size << 10) == 1) }
  }

  @Test("a loop over more than the limit keeps finding the same sizes")
  func aLargeLoopKeepsAPart() {
    let pool = BufferPool(limit: 64 << 10)
    defer { pool.empty() }
    for round in 0..<6 {
      for size in [12, 20, 28, 32] {
        let isKept = pool.freeBlocks(of: size << 10) == 1
        #expect(isKept == (round > 0 && size != 32), "\(size) KiB in round \(round)")
        use(pool, size << 10)
      }
    }
  }

  @Test("a block larger than the limit is not kept")
  func largeBlocksAreNotKept() {
    let pool = BufferPool(limit: 64 << 10)
    defer { pool.empty() }
    use(pool, 8 << 10)
    use(pool, 128 << 10)
    #expect(pool.freeBlocks(of: 8 << 10) == 1 && pool.freeBytes == 8 << 10)
  }
}
