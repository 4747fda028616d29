import EagleCore
import EagleTensor
import Foundation

/// A memory-mapped safetensors file. Opening reads the header only; tensors share the mapping.
package final class SafetensorsFile: Sendable {
  /// The type, the shape and the bytes of a tensor.
  package struct Entry: Sendable, Equatable {
    package let name: String
    package let dtype: DType
    package let shape: [Int]
    /// Bytes from the start of the data.
    package let range: Range<Int>
  }

  package let path: String
  /// The tensors in the order of their data.
  package let entries: [Entry]
  package let metadata: [String: String]
  /// Bytes of the length field and the header together.
  package let headerByteCount: Int

  private let indices: [String: Int]
  private let storage: Storage

  /// Maps the file and checks its header: a truncated file, tensors that overlap or leave the file, and unknown
  /// types throw.
  package init(path: String) throws {
    let file = try MappedFile(path: path)
    let header = try withExtendedLifetime(file) { try SafetensorsHeader(of: file) }
    self.path = path
    entries = header.entries
    metadata = header.metadata
    headerByteCount = header.byteCount
    indices = Dictionary(uniqueKeysWithValues: header.entries.enumerated().map { ($1.name, $0) })
    storage = Storage(borrowing: file.bytes, owner: file)
  }

  package var names: [String] { entries.map(\.name) }

  package func contains(_ name: String) -> Bool { indices[name] != nil }

  /// Type and shape of a tensor; throws when there is none of that name.
  package func entry(_ name: String) throws -> Entry {
    guard let index = indices[name] else {
      throw LocatedError(path: path, problem: "has no tensor `\(name)`", advice: "it holds \(sample)")
    }
    return entries[index]
  }

  /// The tensor over the mapping, read-only; a copy if its bytes are not aligned for its type.
  package func tensor(_ name: String) throws -> Tensor {
    let entry = try entry(name)
    let offset = headerByteCount + entry.range.lowerBound
    guard offset % entry.dtype.size == 0 else { return copy(entry, from: offset) }
    return Tensor(entry.shape, dtype: entry.dtype, storage: storage, byteOffset: offset)
  }

  private func copy(_ entry: Entry, from offset: Int) -> Tensor {
    let tensor = Tensor(entry.shape, dtype: entry.dtype)
    tensor.rawBytes.copyMemory(from: UnsafeRawBufferPointer(start: storage.base + offset, count: entry.range.count))
    return tensor
  }

  private var sample: String {
    guard !entries.isEmpty else { return "no tensors" }
    let shown = names.prefix(4).map { "`\($0)`" }.joined(separator: ", ")
    return entries.count > 4 ? "\(shown) and \(entries.count - 4) more" : shown
  }
}
