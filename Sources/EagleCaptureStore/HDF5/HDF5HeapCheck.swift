import EagleCore
import EagleStorage
import Foundation

/// A check of the heap of a file's strings before the library reads it.
///
/// It is the one structure of the format without a checksum, and a wrong size in it makes the library loop for ever.
/// Attributes are written first, so the heap is in the first kilobytes of the file.
enum HDF5HeapCheck {
  private static let searchedBytes = 1 << 16
  private static let largestHeap = 1 << 24
  /// `GCOL`, version 1, three zeros.
  private static let signature: UInt64 = 0x0000_0001_4C4F_4347

  /// Throws when a heap's objects do not fill it one after the other.
  static func check(_ path: String) throws {
    // A shard is opened for a few of its rows: the system would read megabytes beyond what this check needs.
    let file = try FileReader(path: path, isRandom: true)
    let size = try file.size()
    let start = try file.bytes(0..<min(size, searchedBytes))
    for offset in stride(from: 0, to: start.count - 16, by: 8) where word(start, offset) == signature {
      let length = Int(exactly: word(start, offset + 8)) ?? 0
      guard 16...largestHeap ~= length, length <= size - offset,
        isSound(try file.bytes(offset..<offset + length))
      else {
        throw LocatedError(
          path: path, problem: "the heap of strings at byte \(offset) is damaged", advice: "make the file again")
      }
    }
  }

  /// Layout of a heap: signature, 8 bytes size of the heap, then objects of 2 bytes index, 2 count, 4 unused, 8 size,
  /// and content padded to 8. Index 0 is the free space; its size includes these 16 bytes.
  private static func isSound(_ heap: [UInt8]) -> Bool {
    var position = 16
    while heap.count - position >= 16 {
      let index = word(heap, position) & 0xFFFF
      guard let length = Int(exactly: word(heap, position + 8)), length <= heap.count - position else { return false }
      if index == 0 { return length == heap.count - position }
      position += 16 + (length + 7) / 8 * 8
    }
    return position <= heap.count
  }

  private static func word(_ bytes: [UInt8], _ offset: Int) -> UInt64 {
    bytes.withUnsafeBytes { UInt64(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: UInt64.self)) }
  }
}
