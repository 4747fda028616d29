import EagleCore
import EagleTensor
import Foundation

/// A tensor that a file is to hold. Its shape is row-major.
package struct TensorAnnouncement: Sendable {
  package let name: String
  package let dtype: DType
  package let shape: [Int]

  package init(name: String, dtype: DType, shape: [Int]) {
    self.name = name
    self.dtype = dtype
    self.shape = shape
  }

  init(_ name: String, _ tensor: Tensor) { self.init(name: name, dtype: tensor.dtype, shape: tensor.shape) }

  var byteCount: Int { dtype.bytes(shape.reduce(1, *)) }

  /// The bytes between a tensor that ends at byte `end` and the next one.
  static func padding(after end: Int, alignment: Int) -> Data {
    Data(repeating: 0, count: (alignment - end % alignment) % alignment)
  }

  /// Throws where two parts of a file have one name.
  static func requireDistinct(_ names: [String], _ what: String, path: String) throws {
    var seen: Set<String> = []
    guard let twice = names.first(where: { !seen.insert($0).inserted }) else { return }
    throw LocatedError(path: path, problem: "cannot write two \(what) named `\(twice)`")
  }
}

extension AtomicFile {
  /// Writes a header and, after it, the tensors, each from a multiple of `alignment` on.
  ///
  /// - Parameter body: writes the bytes of the tensor with this index, in chunks of any size
  static func write(
    path: String, header: Data, _ tensors: [TensorAnnouncement], alignment: Int = 1,
    body: (_ index: Int, _ file: OutputFile) throws -> Void
  ) throws {
    try write(path: path) { file in
      try file.write(header)
      for (index, tensor) in tensors.enumerated() {
        let end = file.byteCount + tensor.byteCount
        try body(index, file)
        precondition(file.byteCount == end, "tensor `\(tensor.name)` ended at byte \(file.byteCount), not \(end)")
        try file.write(TensorAnnouncement.padding(after: end, alignment: alignment))
      }
    }
  }
}

extension OutputFile {
  /// Writes a tensor's bytes as they are stored.
  package func write(_ tensor: Tensor) throws {
    try withExtendedLifetime(tensor) { try write(UnsafeRawBufferPointer(tensor.rawBytes)) }
  }
}
