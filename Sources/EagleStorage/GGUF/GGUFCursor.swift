import Foundation

/// Reads a GGUF header from start to end; every read is checked against the end of the file.
struct GGUFCursor {
  let path: String
  let bytes: UnsafeRawBufferPointer
  private(set) var offset = 0

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
    let count = try count(itemSize: 1, "the length of `\(key)`")
    return try (0..<count).map { _ in try value(type: type, key: key, depth: depth + 1) }
  }

  private func need(_ count: Int, _ what: @autoclosure () -> String) throws {
    guard bytes.count - offset >= count else { throw damaged("truncated: it ends in \(what())") }
  }

  /// The error for a header that makes no sense at the present place.
  func damaged(_ problem: String) -> StorageError {
    StorageError(
      path: path, problem: "GGUF header at byte \(offset): \(problem)",
      advice: "the file is damaged or incomplete: copy or download it again")
  }
}
