import Foundation

/// Memory for tiles: one after the other in large blocks, so that those of small matrices share huge pages too.
///
/// A block lives as long as one of the tiles in it.
final class TileMemory: @unchecked Sendable {
  static let shared = TileMemory()

  /// Addresses of a block; they take memory when they are written.
  private static let blockBytes = 256 << 20
  private static let alignment = 64

  private let lock = NSLock()
  private weak var block: Storage?
  private var used = 0

  /// `byteCount` bytes of undefined content.
  func take(_ byteCount: Int) -> Storage {
    let size = (byteCount + Self.alignment - 1) / Self.alignment * Self.alignment
    return lock.withLock {
      // Where addresses are scarce, memory of its own.
      guard let block = blockWithRoom(for: size) else { return Storage(byteCount: byteCount) }
      defer { used += size }
      return Storage(borrowing: UnsafeRawBufferPointer(start: block.base + used, count: byteCount), owner: block)
    }
  }

  private func blockWithRoom(for size: Int) -> Storage? {
    if let block, used + size <= block.byteCount { return block }
    guard let new = try? Storage(reserving: max(size, Self.blockBytes), hasHugePages: true) else { return nil }
    (block, used) = (new, 0)
    return new
  }
}
