import Foundation

/// Reads TensorBoard's event files, written from the format's description; shares no code with the writer.
struct EventReader {
  struct Event {
    var time = 0.0
    var step = 0
    var version: String?
    var scalars: [String: Float] = [:]
    var startsSession = false
  }

  enum Fault: Error {
    case checksum(at: Int)
    case cut(at: Int)
    case wire(UInt8)
  }

  static func events(_ path: String) throws -> [Event] {
    let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    var (events, at) = ([Event](), 0)
    while at < bytes.count {
      guard at + 12 <= bytes.count else { throw Fault.cut(at: at) }
      try check(bytes[at..<at + 8], bytes[at + 8..<at + 12], at)
      let length = Int(number(bytes[at..<at + 8]))
      guard at + 16 + length <= bytes.count else { throw Fault.cut(at: at) }
      let data = bytes[at + 12..<at + 12 + length]
      try check(data, bytes[at + 12 + length..<at + 16 + length], at)
      events.append(try event(data))
      at += 16 + length
    }
    return events
  }

  /// Bit by bit.
  static func crc32c(_ bytes: some Sequence<UInt8>) -> UInt32 {
    var sum: UInt32 = 0xffff_ffff
    for byte in bytes {
      sum ^= UInt32(byte)
      for _ in 0..<8 { sum = sum % 2 == 1 ? (sum / 2) ^ 0x82f6_3b78 : sum / 2 }
    }
    return sum ^ 0xffff_ffff
  }

  private static func check(_ data: ArraySlice<UInt8>, _ stored: ArraySlice<UInt8>, _ at: Int) throws {
    let sum = UInt64(crc32c(data))
    let rotated = (sum >> 15) | (sum << 17 & 0xffff_ffff)
    guard (rotated + 0xa282_ead8) & 0xffff_ffff == number(stored) else { throw Fault.checksum(at: at) }
  }

  private static func number(_ bytes: ArraySlice<UInt8>) -> UInt64 {
    bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }

  private static func event(_ data: ArraySlice<UInt8>) throws -> Event {
    var event = Event()
    for (field, value) in try fields(data) {
      switch (field, value) {
      case (1, .fixed(let bits)): event.time = Double(bitPattern: bits)
      case (2, .whole(let step)): event.step = Int(step)
      case (3, .bytes(let text)): event.version = String(decoding: text, as: UTF8.self)
      case (5, .bytes(let summary)):
        for (_, value) in try fields(summary) {
          guard case .bytes(let bytes) = value else { continue }
          let parts = Dictionary(uniqueKeysWithValues: try fields(bytes))
          guard case .bytes(let tag) = parts[1], case .fixed(let bits) = parts[2] else { continue }
          event.scalars[String(decoding: tag, as: UTF8.self)] = Float(bitPattern: UInt32(bits))
        }
      case (7, .bytes(let session)):
        event.startsSession = try fields(session).contains { $0.0 == 1 && $0.1 == .whole(1) }
      default: break
      }
    }
    return event
  }

  private enum Value: Equatable {
    case whole(UInt64)
    case fixed(UInt64)
    case bytes(ArraySlice<UInt8>)
  }

  private static func fields(_ data: ArraySlice<UInt8>) throws -> [(Int, Value)] {
    var (rest, fields) = (data, [(Int, Value)]())
    func variable() -> UInt64 {
      var (value, shift) = (UInt64(0), UInt64(0))
      while let byte = rest.popFirst() {
        value |= UInt64(byte & 0x7f) << shift
        shift += 7
        if byte < 0x80 { break }
      }
      return value
    }
    func take(_ count: Int) -> ArraySlice<UInt8> {
      defer { rest = rest.dropFirst(count) }
      return rest.prefix(count)
    }
    while !rest.isEmpty {
      let key = variable()
      switch key & 7 {
      case 0: fields.append((Int(key >> 3), .whole(variable())))
      case 1: fields.append((Int(key >> 3), .fixed(number(take(8)))))
      case 2: fields.append((Int(key >> 3), .bytes(take(Int(variable())))))
      case 5: fields.append((Int(key >> 3), .fixed(number(take(4)))))
      default: throw Fault.wire(UInt8(key & 7))
      }
    }
    return fields
  }
}
