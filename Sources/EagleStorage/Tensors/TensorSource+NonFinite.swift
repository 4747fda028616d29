import EagleCore
import EagleTensor
import Foundation

/// A tensor that holds non-finite values.
package struct NonFiniteTensor: Equatable, Sendable {
  package let name: String
  /// Path of its file.
  package let file: String
  package let values: NonFinite
}

extension TensorSource {
  /// The stored tensors of `names` that hold NaN or infinities, in the order of `names`.
  ///
  /// All threads read the files block by block: through the mapping, what is read would count as memory of the process.
  package func nonFiniteTensors(among names: [String]) throws -> [NonFiniteTensor] {
    let tensors = try stored(names)
    let parts = tensors.enumerated().flatMap { FilePart.parts(of: $1, number: $0) }
    let readers = try Dictionary(uniqueKeysWithValues: Set(parts.map(\.path)).map { ($0, try FileReader(path: $0)) })
    let found = try FilePart.scan(parts, readers)
    var sums = [NonFinite](repeating: NonFinite(), count: tensors.count)
    for (part, values) in zip(parts, found) { sums[part.number].add(values, at: part.element) }
    return tensors.indices.filter { sums[$0].count > 0 }.map {
      NonFiniteTensor(name: tensors[$0].name, file: tensors[$0].file, values: sums[$0])
    }
  }
}

/// A part of a tensor that is read at once.
private struct FilePart {
  static let bytes = 1 << 20
  /// The index of its tensor.
  let number: Int
  let path: String
  let dtype: DType
  /// Bytes of the file.
  let range: Range<Int>
  /// Index of its first element in the tensor.
  let element: Int

  /// The parts of a tensor, whole elements or blocks; none of a type without non-finite values.
  static func parts(of tensor: StoredTensor, number: Int) -> [FilePart] {
    let (dtype, size) = (tensor.dtype, tensor.dtype.blockBytes)
    guard dtype.isBlocks || [.bfloat16, .float16, .float32].contains(dtype) else { return [] }
    return stride(from: 0, to: tensor.range.count, by: bytes / size * size).map { offset in
      let start = tensor.range.lowerBound + offset
      let end = min(start + bytes / size * size, tensor.range.upperBound)
      return FilePart(
        number: number, path: tensor.file, dtype: dtype, range: start..<end,
        element: offset / size * dtype.blockLength)
    }
  }

  static func scan(_ parts: [FilePart], _ readers: [String: FileReader]) throws -> [NonFinite] {
    let results = ScanResults(count: parts.count)
    Parallel.forEachRange(parts.count, grain: 1, dynamic: true) { indices in
      let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes, alignment: 64)
      defer { buffer.deallocate() }
      for index in indices {
        let (part, dtype) = (parts[index], parts[index].dtype)
        do {
          let content = try readers[part.path]!.read(part.range, into: buffer)
          results.set(
            index, dtype.isBlocks ? NonFinite(inBlocks: content, dtype: dtype) : NonFinite(in: content, dtype: dtype))
        } catch {
          results.fail(error)
        }
      }
    }
    return try results.get()
  }
}

/// The results of all threads, or the error of the first that failed.
private final class ScanResults: @unchecked Sendable {
  private let lock = NSLock()
  private var values: [NonFinite]
  private var failure: (any Error)?

  init(count: Int) { values = [NonFinite](repeating: NonFinite(), count: count) }

  func set(_ index: Int, _ value: NonFinite) { lock.withLock { values[index] = value } }

  func fail(_ error: any Error) { lock.withLock { failure = failure ?? error } }

  func get() throws -> [NonFinite] {
    if let failure { throw failure }
    return values
  }
}
