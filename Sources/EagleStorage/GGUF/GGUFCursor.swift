import EagleCore
import Foundation

/// Reads a GGUF header from start to end; every read is checked against the end of the file.
struct GGUFCursor {
  let path: String
  let bytes: UnsafeRawBufferPointer
  private(set) var offset = 0
  /// Array items that were read, over all arrays of the header.
  private var items = 0

  /// Most items of all arrays together: some 40 times a vocabulary of 256,000 tokens with its merges.
  private static let mostItems = 1 << 24

  init(_ file: MappedFile) {
    path = file.path
    bytes = file.bytes
  }

  mutating func number<Number: FixedWidthInteger>(_: Number.Type, _ what: @autoclosure () -> String) throws -> Number {
    let size = MemoryLayout<Number>.size
    try need(size, what())
    defer { offset += size }
    return Number(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Number.self))
  }

  /// A 64-bit length or count whose items take at least `itemSize` bytes each, so that a wild one is noticed at once.
  mutating func count(itemSize: Int, _ what: @autoclosure () -> String) throws -> Int {
    let count = try number(UInt64.self, what())
    guard count <= UInt64((bytes.count - offset) / itemSize) else {
      throw damaged("\(what()) says \(count), more than the rest of the file can hold")
    }
    return Int(count)
  }

  mutating func string(_ what: @autoclosure () -> String) throws -> String {
    let length = try count(itemSize: 1, "the length of \(what())")
    let content = UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + length])
    guard let text = String(validating: content, as: UTF8.self) else { throw damaged("\(what()) is not UTF-8") }
    offset += length
    return text
  }

  /// The name of a key or of a tensor: messages quote it, in one line.
  mutating func name(_ what: String) throws -> String {
    let name = try string(what)
    guard name.utf8.count <= Self.longestName, name.utf8.allSatisfy({ $0 >= 32 }) else {
      throw damaged("\(what) is longer than \(Self.longestName) bytes or has control characters")
    }
    return name
  }

  /// Bytes of the longest name, by the format.
  private static let longestName = 65535

  /// A value of the type with this number in the format; arrays nest at most four deep.
  mutating func value(type: UInt32, key: String, depth: Int = 0) throws -> GGUFValue {
    let what = "the value of `\(key)`"
    switch type {
    case 0: return .unsigned(UInt64(try number(UInt8.self, what)))
    case 1: return .signed(Int64(try number(Int8.self, what)))
    case 2: return .unsigned(UInt64(try number(UInt16.self, what)))
    case 3: return .signed(Int64(try number(Int16.self, what)))
    case 4: return .unsigned(UInt64(try number(UInt32.self, what)))
    case 5: return .signed(Int64(try number(Int32.self, what)))
    case 6: return .float(Double(Float(bitPattern: try number(UInt32.self, what))))
    case 7: return .bool(try number(UInt8.self, what) != 0)
    case 8: return .string(try string(what))
    case 9: return .array(try array(key: key, depth: depth))
    case 10: return .unsigned(try number(UInt64.self, what))
    case 11: return .signed(try number(Int64.self, what))
    case 12: return .float(Double(bitPattern: try number(UInt64.self, what)))
    default: throw damaged("`\(key)` has the unknown value type \(type)")
    }
  }

  private mutating func array(key: String, depth: Int) throws -> [GGUFValue] {
    guard depth < 4 else { throw damaged("`\(key)` nests arrays more than four deep") }
    let type = try number(UInt32.self, "the item type of `\(key)`")
    guard let size = Self.smallestSize(ofType: type) else {
      throw damaged("the items of `\(key)` have the unknown value type \(type)")
    }
    let count = try count(itemSize: size, "the length of `\(key)`")
    guard count <= Self.mostItems - items else {
      throw damaged("`\(key)` brings the arrays above \(Self.mostItems) items")
    }
    items += count
    // Grows with what is read: a wild count must not reserve memory for items that are not there.
    var values: [GGUFValue] = []
    for _ in 0..<count { values.append(try value(type: type, key: key, depth: depth + 1)) }
    return values
  }

  /// Bytes that a value of the type takes at least: a string its length, an array its item type and its length.
  private static func smallestSize(ofType type: UInt32) -> Int? {
    switch type {
    case 0, 1, 7: 1
    case 2, 3: 2
    case 4, 5, 6: 4
    case 8, 10, 11, 12: 8
    case 9: 12
    default: nil
    }
  }

  private func need(_ count: Int, _ what: @autoclosure () -> String) throws {
    guard bytes.count - offset >= count else { throw damaged("truncated: it ends in \(what())") }
  }

  /// The error for a header that makes no sense at the present offset.
  func damaged(_ problem: String) -> LocatedError {
    LocatedError(
      path: path, problem: "GGUF header at byte \(offset): \(problem)",
      advice: "the file is damaged or incomplete: copy or download it again")
  }
}
