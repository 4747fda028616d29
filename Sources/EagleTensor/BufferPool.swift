import Foundation

/// Keeps freed blocks for reuse, so that a training step allocates nothing after the first one.
final class BufferPool: @unchecked Sendable {
  static let shared = BufferPool()

  private let lock = NSLock()
  private var free: [Int: [UnsafeMutableRawPointer]] = [:]
  private var freeBytes = 0
  /// Blocks above this total go back to the system.
  private let limit = 2 << 30

  func take(_ byteCount: Int) -> UnsafeMutableRawPointer {
    let size = Self.sizeClass(byteCount)
    lock.lock()
    if let block = free[size]?.popLast() {
      freeBytes -= size
      lock.unlock()
      return block
    }
    lock.unlock()
    return UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 64)
  }

  func give(_ block: UnsafeMutableRawPointer, _ byteCount: Int) {
    let size = Self.sizeClass(byteCount)
    lock.lock()
    defer { lock.unlock() }
    guard freeBytes + size <= limit else { return block.deallocate() }
    free[size, default: []].append(block)
    freeBytes += size
  }

  /// Gives every kept block back to the system.
  func empty() {
    lock.lock()
    let blocks = free.values.flatMap { $0 }
    (free, freeBytes) = ([:], 0)
    lock.unlock()
    for block in blocks { block.deallocate() }
  }

  /// Rounds up to one of eight steps per power of two, so that nearly equal sizes share blocks.
  static func sizeClass(_ byteCount: Int) -> Int {
    guard byteCount > 512 else { return 512 }
    let step = 1 << (Int.bitWidth - (byteCount - 1).leadingZeroBitCount - 3)
    return (byteCount + step - 1) / step * step
  }
}
