import Foundation

/// Pages of 2 MiB in place of 4 KiB: a processor looks up fewer addresses while it reads much memory.
package enum HugePages {
  static let byteCount = 2 << 20

  /// Asks the system for them in a range of addresses, where it fills whole ones. It is no error where there are none.
  package static func ask(for base: UnsafeMutableRawPointer, _ bytes: Int) {
    #if os(Linux)
      if bytes >= byteCount { madvise(base, bytes, Int32(MADV_HUGEPAGE)) }
    #endif
  }
}
