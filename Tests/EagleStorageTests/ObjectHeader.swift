import Foundation
import Testing

/// The object header of an HDF5 file (format specification, IV.A.1.b, version 2), whose checksum must be updated after
/// a change.
enum ObjectHeader {
  /// Sets the checksum of the header that contains the byte at `place`.
  static func seal(_ data: inout Data, around place: Int) throws {
    let start = try #require(data[..<place].range(of: Data("OHDR".utf8), options: .backwards)).lowerBound
    let flags = Int(data[start + 5])
    let sizePlace = start + 6 + (flags & 0x20 != 0 ? 16 : 0) + (flags & 0x10 != 0 ? 4 : 0)
    let sizeBytes = 1 << (flags & 3)
    let size = (0..<sizeBytes).reduce(0) { $0 | Int(data[sizePlace + $1]) << (8 * $1) }
    let end = sizePlace + sizeBytes + size
    let sum = lookup3(Array(data[start..<end]))
    data.replaceSubrange(end..<end + 4, with: withUnsafeBytes(of: sum.littleEndian) { Data($0) })
  }

  /// Jenkins' hash lookup3 (`hashlittle`) with the initial value 0.
  static func lookup3(_ bytes: [UInt8]) -> UInt32 {
    let first = 0xDEAD_BEEF &+ UInt32(bytes.count)
    var (a, b, c) = (first, first, first)
    func word(_ place: Int) -> UInt32 {
      (0..<4).reduce(0) { place + $1 < bytes.count ? $0 | UInt32(bytes[place + $1]) << UInt32(8 * $1) : $0 }
    }
    func rotated(_ x: UInt32, _ count: UInt32) -> UInt32 { x << count | x >> (32 - count) }
    var place = 0
    while bytes.count - place > 12 {
      (a, b, c) = (a &+ word(place), b &+ word(place + 4), c &+ word(place + 8))
      a = (a &- c) ^ rotated(c, 4)
      c = c &+ b
      b = (b &- a) ^ rotated(a, 6)
      a = a &+ c
      c = (c &- b) ^ rotated(b, 8)
      b = b &+ a
      a = (a &- c) ^ rotated(c, 16)
      c = c &+ b
      b = (b &- a) ^ rotated(a, 19)
      a = a &+ c
      c = (c &- b) ^ rotated(b, 4)
      b = b &+ a
      place += 12
    }
    (a, b, c) = (a &+ word(place), b &+ word(place + 4), c &+ word(place + 8))
    c = (c ^ b) &- rotated(b, 14)
    a = (a ^ c) &- rotated(c, 11)
    b = (b ^ a) &- rotated(a, 25)
    c = (c ^ b) &- rotated(b, 16)
    a = (a ^ c) &- rotated(c, 4)
    b = (b ^ a) &- rotated(a, 14)
    c = (c ^ b) &- rotated(b, 24)
    return c
  }
}
