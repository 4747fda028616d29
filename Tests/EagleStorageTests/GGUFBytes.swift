import Foundation

/// Builds GGUF files byte by byte, valid and malformed ones.
struct GGUFBytes {
  var magic = Data("GGUF".utf8)
  var version: UInt32 = 3
  var pairs: [Data] = []
  var tensors: [Data] = []
  var payload = Data()
  var tensorCount: UInt64?

  static func number(_ value: some FixedWidthInteger) -> Data { withUnsafeBytes(of: value.littleEndian) { Data($0) } }

  static func string(_ text: String) -> Data { number(UInt64(text.utf8.count)) + Data(text.utf8) }

  mutating func add(_ key: String, type: UInt32, _ value: Data) {
    pairs.append(Self.string(key) + Self.number(type) + value)
  }

  mutating func add(_ key: String, _ text: String) { add(key, type: 8, Self.string(text)) }

  mutating func add(_ key: String, _ value: UInt32) { add(key, type: 4, Self.number(value)) }

  /// Describes a tensor; `dimensions` in the order of the file, fastest first.
  mutating func describe(_ name: String, _ dimensions: [UInt64], type: UInt32, offset: UInt64) {
    let sizes = dimensions.map { Self.number($0) }.reduce(Data(), +)
    tensors.append(
      Self.string(name) + Self.number(UInt32(dimensions.count)) + sizes + Self.number(type) + Self.number(offset))
  }

  var data: Data {
    var data = magic + Self.number(version)
    data += Self.number(tensorCount ?? UInt64(tensors.count)) + Self.number(UInt64(pairs.count))
    data += (pairs + tensors).reduce(Data(), +)
    data += Data(repeating: 0, count: (32 - data.count % 32) % 32)
    return data + payload
  }
}
