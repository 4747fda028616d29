import EagleCore
import EagleTensor
import Foundation

/// A memory-mapped GGUF file, version 2 or 3, little-endian.
package final class GGUFFile: Sendable {
  /// The type, the shape and the bytes of a tensor.
  package struct TensorInfo: Sendable, Equatable {
    package let name: String
    /// Row-major as in Hugging Face files: the reverse of the file's own order.
    package let shape: [Int]
    package let type: DType
    /// Bytes of the file.
    package let range: Range<Int>

    package var count: Int { shape.reduce(1, *) }
  }

  package let path: String
  package let version: Int
  package let metadata: [String: GGUFValue]
  /// The tensors in the order of the header.
  package let tensors: [TensorInfo]
  private let indices: [String: Int]
  private let values: [(key: String, range: Range<Int>)]
  private let file: MappedFile

  /// Reads the header. A truncated or damaged file, another version and unknown tensor types throw.
  package init(path: String) throws {
    let file = try MappedFile(path: path)
    let header = try withExtendedLifetime(file) { try GGUFHeader(of: file) }
    self.path = path
    self.file = file
    version = header.version
    metadata = header.metadata
    values = header.values
    tensors = header.tensors
    indices = Dictionary(uniqueKeysWithValues: header.tensors.enumerated().map { ($1.name, $0) })
  }

  package func contains(tensor name: String) -> Bool { indices[name] != nil }

  /// Type and shape of a tensor; throws when there is none of that name.
  package func info(_ name: String) throws -> TensorInfo {
    guard let index = indices[name] else {
      throw LocatedError(
        path: path, problem: "has no tensor `\(name)`", advice: "the file is not a complete model of its architecture")
    }
    return tensors[index]
  }

  /// The tensor's bytes as they are in the file.
  package func withBytes<Result>(of name: String, _ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result {
    let range = try info(name).range
    return try withExtendedLifetime(file) { try body(UnsafeRawBufferPointer(rebasing: file.bytes[range])) }
  }

  /// The tensor over the mapping, read-only, in its stored type; a copy if its bytes are not aligned for it.
  package func stored(_ name: String) throws -> Tensor {
    let info = try info(name)
    guard info.range.lowerBound % 8 == 0 else {
      let copy = Tensor(info.shape, dtype: info.type)
      try withBytes(of: name) { copy.rawBytes.copyMemory(from: $0) }
      return copy
    }
    let storage = Storage(borrowing: file.bytes, owner: file)
    return Tensor(info.shape, dtype: info.type, storage: storage, byteOffset: info.range.lowerBound)
  }

  /// The metadata whose keys begin with `prefix`, as they stand in the file, in its order.
  package func fields(prefix: String) -> [GGUFField] {
    file.withBytes { bytes in
      values.filter { $0.key.hasPrefix(prefix) }.map { GGUFField(key: $0.key, value: Data(bytes[$0.range])) }
    }
  }

  /// The dequantised values, row by row.
  package func floats(_ name: String) throws -> [Float] {
    let count = try info(name).count
    return try [Float](unsafeUninitializedCapacity: count) { values, filled in
      try decode(name, elements: 0..<count, to: values.baseAddress)
      filled = count
    }
  }

  /// The dequantised tensor, float32.
  package func tensor(_ name: String) throws -> Tensor {
    let info = try info(name)
    let tensor = Tensor(info.shape)
    try decode(name, elements: 0..<info.count, to: tensor.floats)
    return tensor
  }

  /// Dequantises some elements, whole blocks of the tensor's type, to `values`.
  package func decode(_ name: String, elements: Range<Int>, to values: UnsafeMutablePointer<Float>?) throws {
    let info = try info(name)
    let length = info.type.blockLength
    precondition(
      elements.lowerBound >= 0 && elements.upperBound <= info.count && elements.lowerBound % length == 0
        && elements.count % length == 0, "elements \(elements) of `\(name)`, blocks of \(length)")
    guard let values, !elements.isEmpty else { return }
    try withBytes(of: name) { bytes in
      guard let base = bytes.baseAddress else { return }
      let first = base + elements.lowerBound / length * info.type.blockBytes
      info.type.widen(first, elements.count, into: values)
    }
  }
}

extension GGUFFile {
  package func contains(key: String) -> Bool { metadata[key] != nil }

  package func string(_ key: String) throws -> String { try value(key, "a string") { $0.string } }
  package func int(_ key: String) throws -> Int { try value(key, "an integer") { $0.int } }
  package func float(_ key: String) throws -> Double { try value(key, "a float") { $0.float } }
  package func bool(_ key: String) throws -> Bool { try value(key, "a bool") { $0.bool } }

  package func strings(_ key: String) throws -> [String] {
    try value(key, "an array of strings") { try? Self.all($0) { $0.string } }
  }

  package func ints(_ key: String) throws -> [Int] {
    try value(key, "an array of integers") { try? Self.all($0) { $0.int } }
  }

  private func value<Value>(_ key: String, _ kind: String, _ convert: (GGUFValue) -> Value?) throws -> Value {
    guard let found = metadata[key] else { throw LocatedError(path: path, problem: "has no metadata key `\(key)`") }
    guard let value = convert(found) else {
      throw LocatedError(path: path, problem: "metadata key `\(key)` is \(found.kind), not \(kind)")
    }
    return value
  }

  private struct WrongItem: Error {}

  private static func all<Item>(_ value: GGUFValue, _ convert: (GGUFValue) -> Item?) throws -> [Item] {
    guard let items = value.array else { throw WrongItem() }
    return try items.map { item in
      guard let converted = convert(item) else { throw WrongItem() }
      return converted
    }
  }
}
