import EagleCore
import EagleTensor
import Foundation

/// A memory-mapped GGUF model, version 2 or 3, little-endian: one file, or the parts that gguf-split has made of it.
package final class GGUFFile: Sendable {
  /// The type, the shape and the bytes of a tensor.
  package struct TensorInfo: Sendable, Equatable {
    package let name: String
    /// Row-major as in Hugging Face files: the reverse of the file's own order.
    package let shape: [Int]
    package let type: DType
    /// The number of its file among those of the model, from 0.
    package let part: Int
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
  let parts: [GGUFPart]
  private let storages: [Storage]

  /// Reads the header, and those of the other parts of a model whose first part this is. A truncated or damaged file,
  /// another version, unknown tensor types, and parts that are missing or of another model throw.
  package init(path: String) throws {
    let first = try GGUFPart(path: path)
    parts = [first] + (try GGUFSplit(of: first.header, path: path)?.others(of: first) ?? [])
    storages = parts.map { Storage(borrowing: $0.file.bytes, owner: $0.file) }
    self.path = path
    version = first.header.version
    metadata = first.header.metadata
    tensors = parts.flatMap(\.header.tensors)
    indices = Dictionary(uniqueKeysWithValues: tensors.enumerated().map { ($1.name, $0) })
  }

  /// Bytes of all files of the model.
  package var byteCount: Int { parts.reduce(0) { $0 + $1.file.byteCount } }

  /// The path of the file that holds a tensor.
  package func path(of tensor: TensorInfo) -> String { parts[tensor.part].path }

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
    let info = try info(name)
    return try parts[info.part].file.withBytes { try body(UnsafeRawBufferPointer(rebasing: $0[info.range])) }
  }

  /// The metadata whose keys begin with `prefix`, as they are in the file, in its order.
  package func fields(prefix: String) -> [GGUFField] {
    let values = parts[0].header.values.filter { $0.key.hasPrefix(prefix) }
    return parts[0].file.withBytes { bytes in values.map { GGUFField(key: $0.key, value: Data(bytes[$0.range])) } }
  }

  /// The error for a tensor of integers where weights belong.
  package func noWeights(_ tensor: TensorInfo) -> LocatedError {
    LocatedError(
      path: path(of: tensor), problem: "tensor `\(tensor.name)` is \(tensor.type.ggmlName), and must hold weights",
      advice: "the file is damaged: copy or download it again")
  }

  /// The dequantised values, row by row.
  package func floats(_ name: String) throws -> [Float] {
    let count = try info(name).count
    return try [Float](unsafeUninitializedCapacity: count) { values, filled in
      try decode(name, elements: 0..<count, to: values.baseAddress)
      filled = count
    }
  }

  /// The tensor over the mapping as it is stored, read-only; a copy if its bytes are not aligned for its type.
  package func stored(_ name: String) throws -> Tensor {
    let info = try info(name)
    let (storage, offset) = (storages[info.part], info.range.lowerBound)
    if info.type.isBlocks || offset % info.type.size == 0 {
      return Tensor(info.shape, dtype: info.type, storage: storage, byteOffset: offset)
    }
    let copy = Tensor(info.shape, dtype: info.type)
    copy.rawBytes.copyMemory(from: UnsafeRawBufferPointer(start: storage.base + offset, count: info.range.count))
    return copy
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
    guard info.type.weightType != nil else { throw noWeights(info) }
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
