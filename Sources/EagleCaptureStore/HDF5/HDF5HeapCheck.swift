import EagleCore
import Foundation

/// A look at the heap of a file's strings before the library reads it.
///
/// It is the one structure of the format without a checksum, and a wrong size in it makes the library loop for ever.
/// Attributes are written first, so the heap lies near the start of the file.
enum HDF5HeapCheck {
  private static let searchedBytes = 1 << 20
  /// `GCOL`, version 1, three zeros.
  private static let signature: UInt64 = 0x0000_0001_4C4F_4347

  /// Throws when a heap's objects do not fill it one after the other.
  static func check(_ path: String) throws {
    try MappedFile(path: path).withBytes { bytes in
      for offset in stride(from: 0, to: min(bytes.count, searchedBytes) - 16, by: 8) {
        guard word(bytes, offset) == signature else { continue }
        guard isSound(bytes, heapAt: offset) else {
          throw LocatedError(
            path: path, problem: "the heap of strings at byte \(offset) is damaged", advice: "make the file again")
        }
      }
    }
  }

  /// Layout: signature, 8 bytes size of the heap, then objects of 2 bytes index, 2 count, 4 unused, 8 size, and content
  /// padded to 8. Index 0 is the free space; its size includes these 16 bytes.
  private static func isSound(_ bytes: UnsafeRawBufferPointer, heapAt offset: Int) -> Bool {
    guard let size = Int(exactly: word(bytes, offset + 8)), size >= 16, size <= bytes.count - offset else {
      return false
    }
    let end = offset + size
    var position = offset + 16
    while end - position >= 16 {
      let index = word(bytes, position) & 0xFFFF
      guard let length = Int(exactly: word(bytes, position + 8)), length <= end - position else { return false }
      if index == 0 { return length == end - position }
      position += 16 + (length + 7) / 8 * 8
    }
    return position <= end
  }

  private static func word(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> UInt64 {
    UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
  }
}
