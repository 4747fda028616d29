import EagleCore
import Foundation

/// A block of raw memory that tensors share: owned (from the buffer pool) or borrowed from a mapped file.
///
/// The bytes are 64-byte aligned when owned. Borrowed memory is read-only by contract; `owner` keeps the mapping alive.
package final class Storage: @unchecked Sendable {
  package let base: UnsafeMutableRawPointer
  package let byteCount: Int
  package let isReadOnly: Bool
  private let origin: Origin

  private enum Origin {
    case pool
    case reserved
    case borrowed(AnyObject)
  }

  /// Takes `byteCount` bytes from the pool; their content is undefined.
  package init(byteCount: Int) {
    self.byteCount = byteCount
    base = BufferPool.shared.take(byteCount)
    isReadOnly = false
    origin = .pool
  }

  /// Reserves addresses for `byteCount` bytes and no memory: the system adds a zeroed page at the first write to it. So
  /// what is stored can grow to that size without being moved. A limit of virtual memory counts all of them, and so
  /// does vm.overcommit_memory=2: reserve what may soon be needed, not all that could ever be.
  ///
  /// - Parameter hasHugePages: whether the system may add huge pages, where it has them, instead of small ones
  /// - Throws: `AddressSpaceError` where the system refuses them
  package init(reserving byteCount: Int, hasHugePages: Bool = false) throws {
    self.byteCount = byteCount
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | Int32(MAP_NORESERVE)
    let address = mmap(nil, max(1, byteCount), PROT_READ | PROT_WRITE, flags, -1, 0)
    guard let address, address != MAP_FAILED else { throw AddressSpaceError(byteCount: byteCount) }
    if hasHugePages { HugePages.ask(for: address, byteCount) }
    base = address
    isReadOnly = false
    origin = .reserved
  }

  /// Returns the whole pages within a range of reserved bytes to the system; they are zero from now on.
  package func release(_ bytes: Range<Int>) {
    precondition(bytes.upperBound <= byteCount, "bytes \(bytes) of a storage of \(byteCount)")
    guard case .reserved = origin else { return }
    let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    let first = (bytes.lowerBound + page - 1) / page * page
    let end = bytes.upperBound / page * page
    if first < end { madvise(base + first, end - first, MADV_DONTNEED) }
  }

  /// Returns the whole pages within a range of bytes to the system. Those of a mapped file are read again when they are
  /// needed; the content of others is gone.
  func releasePages(_ bytes: Range<Int>) {
    let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    let address = Int(bitPattern: base)
    let first = (address + bytes.lowerBound + page - 1) / page * page
    let end = (address + bytes.upperBound) / page * page
    if first < end { madvise(UnsafeMutableRawPointer(bitPattern: first), end - first, MADV_DONTNEED) }
  }

  /// Borrows memory that `owner` keeps alive, for example a mapped weight file.
  package init(borrowing bytes: UnsafeRawBufferPointer, owner: AnyObject) {
    precondition(bytes.baseAddress != nil || bytes.isEmpty, "borrowed storage has no address")
    base = UnsafeMutableRawPointer(mutating: bytes.baseAddress ?? UnsafeRawPointer(bitPattern: 64)!)
    byteCount = bytes.count
    isReadOnly = true
    origin = .borrowed(owner)
  }

  /// Returns the memory of past tensors, which is kept for new ones of the same size, to the system. Worth calling
  /// where one kind of work ends and another begins.
  package static func releaseUnused() { BufferPool.shared.empty() }

  deinit {
    switch origin {
    case .pool: BufferPool.shared.give(base, byteCount)
    case .reserved: munmap(base, max(1, byteCount))
    case .borrowed: break
    }
  }
}

/// The system refuses addresses: a limit of virtual memory (`ulimit -v`), or vm.overcommit_memory=2.
package struct AddressSpaceError: Error, CustomStringConvertible, LocalizedError {
  package let byteCount: Int

  package var description: String {
    "the system refuses \(byteCount) bytes of address space: raise the limit (ulimit -v), or ask for fewer tokens"
  }
  package var errorDescription: String? { description }
}
