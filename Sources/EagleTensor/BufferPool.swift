import Foundation

/// Keeps freed blocks for reuse, so that a training step allocates nothing after the first one.
///
/// Blocks are kept by size class. Beyond the limit, blocks of the class that was used least recently are returned to
/// the system, so that the sizes of an earlier phase are replaced by those of the present one. They are evicted only
/// for a class that was used twice since; otherwise the new block is returned. (In a loop over more than the limit,
/// plain LRU would evict exactly what is needed next.)
package final class BufferPool: @unchecked Sendable {
  static let shared = BufferPool(limit: 2 << 30)

  /// The free blocks of one size class.
  private struct Class {
    var blocks: [UnsafeMutableRawPointer] = []
    /// Numbers of the last two calls that took a block of it.
    var takes = (last: 0, before: 0)
  }

  private let lock = NSLock()
  private var classes: [Int: Class] = [:]
  private var takes = 0
  /// Bytes of the free blocks together.
  package private(set) var freeBytes = 0
  private let limit: Int

  /// A pool that keeps free blocks of at most `limit` bytes together.
  package init(limit: Int) { self.limit = limit }

  package func take(_ byteCount: Int) -> UnsafeMutableRawPointer {
    let size = Self.sizeClass(byteCount)
    let kept = lock.withLock { () -> UnsafeMutableRawPointer? in
      takes += 1
      classes[size, default: Class()].takes = (takes, classes[size]?.takes.last ?? 0)
      guard let block = classes[size]?.blocks.popLast() else { return nil }
      freeBytes -= size
      return block
    }
    return kept ?? UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 64)
  }

  package func give(_ block: UnsafeMutableRawPointer, _ byteCount: Int) {
    let size = Self.sizeClass(byteCount)
    guard size <= limit else { return block.deallocate() }
    let evicted = lock.withLock { () -> [UnsafeMutableRawPointer] in
      classes[size, default: Class()].blocks.append(block)
      freeBytes += size
      return evict(for: size)
    }
    // Outside the lock: the system may take long for large ones.
    for block in evicted { block.deallocate() }
  }

  /// Returns every kept block to the system.
  package func empty() {
    let blocks = lock.withLock {
      defer { (classes, freeBytes) = ([:], 0) }
      return classes.values.flatMap(\.blocks)
    }
    for block in blocks { block.deallocate() }
  }

  /// Free blocks of the size class of `byteCount`.
  package func freeBlocks(of byteCount: Int) -> Int {
    lock.withLock { classes[Self.sizeClass(byteCount)]?.blocks.count ?? 0 }
  }

  /// The blocks to evict so that the rest is within the limit, after one of the class `given` came.
  private func evict(for given: Int) -> [UnsafeMutableRawPointer] {
    var evicted: [UnsafeMutableRawPointer] = []
    while freeBytes > limit {
      let oldest = classes.filter { !$0.value.blocks.isEmpty }.min { $0.value.takes.last < $1.value.takes.last }
      let isPast = oldest.map { $0.value.takes.last < classes[given]!.takes.before } ?? false
      let size = isPast ? oldest!.key : given
      guard let block = classes[size]?.blocks.popLast() else { break }
      evicted.append(block)
      freeBytes -= size
    }
    return evicted
  }

  /// Rounds up to one of eight steps per power of two, so that nearly equal sizes share blocks.
  static func sizeClass(_ byteCount: Int) -> Int {
    guard byteCount > 512 else { return 512 }
    let step = 1 << (Int.bitWidth - (byteCount - 1).leadingZeroBitCount - 3)
    return (byteCount + step - 1) / step * step
  }
}
