/// A block of raw memory that tensors share: owned (from the buffer pool) or borrowed from a mapped file.
///
/// The bytes are 64-byte aligned when owned. Borrowed memory is read-only by contract; `owner` keeps the mapping alive.
public final class Storage: @unchecked Sendable {
  public let base: UnsafeMutableRawPointer
  public let byteCount: Int
  public let isReadOnly: Bool
  private let owner: AnyObject?

  /// Takes `byteCount` bytes from the pool; their content is undefined.
  public init(byteCount: Int) {
    self.byteCount = byteCount
    base = BufferPool.shared.take(byteCount)
    isReadOnly = false
    owner = nil
  }

  /// Borrows memory that `owner` keeps alive, for example a mapped weight file.
  public init(borrowing bytes: UnsafeRawBufferPointer, owner: AnyObject) {
    precondition(bytes.baseAddress != nil || bytes.isEmpty, "borrowed storage has no address")
    base = UnsafeMutableRawPointer(mutating: bytes.baseAddress ?? UnsafeRawPointer(bitPattern: 64)!)
    byteCount = bytes.count
    isReadOnly = true
    self.owner = owner
  }

  /// Gives the memory of past tensors, which is kept for new ones of the same size, back to the system. Worth calling
  /// where one kind of work ends and another begins.
  public static func releaseUnused() { BufferPool.shared.empty() }

  deinit {
    if owner == nil { BufferPool.shared.give(base, byteCount) }
  }
}
