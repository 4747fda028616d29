import Foundation

/// Pages of 2 MiB instead of 4 KiB: a processor looks up fewer addresses while it reads much memory.
package enum HugePages {
  static let byteCount = 2 << 20

  /// Requests huge pages from the system in the whole ones of a range of addresses. It is no error if there are none.
  package static func ask(for base: UnsafeMutableRawPointer, _ bytes: Int) {
    #if os(Linux)
      if bytes >= byteCount { madvise(base, bytes, Int32(MADV_HUGEPAGE)) }
    #endif
  }
}
