import EagleCore
import EagleTensor
import Foundation

/// Writes GGUF files, version 3: atomically, one tensor at a time, in the order given.
package enum GGUFWriter {
  /// Tensors begin at multiples of it, from the start of the data; what a file without `general.alignment` has.
  private static let alignment = 32

  /// A tensor that is to come. Its shape is row-major, the reverse of the file's order.
  package struct Announcement: Sendable {
    package let name: String
    package let dtype: DType
    package let shape: [Int]

    package init(name: String, dtype: DType, shape: [Int]) {
      self.name = name
      self.dtype = dtype
      self.shape = shape
    }

    fileprivate var byteCount: Int { dtype.bytes(shape.reduce(1, *)) }
  }

  package static func write(path: String, fields: [GGUFField], tensors: [(name: String, tensor: Tensor)]) throws {
    let announced = tensors.map { Announcement(name: $0.name, dtype: $0.tensor.dtype, shape: $0.tensor.shape) }
    try write(path: path, fields: fields, announced: announced) { index, file in
      let tensor = tensors[index].tensor
      try withExtendedLifetime(tensor) { try file.write(UnsafeRawBufferPointer(tensor.rawBytes)) }
    }
  }

  /// Streams tensors that never exist together: `body` writes the bytes of announcement `index` to the file, in
  /// chunks of any size.
  ///
  /// - Throws: `LocatedError` for a key or a name that comes twice, a tensor of more than four dimensions and a type that
  ///   the format does not have, and when the file cannot be written
  package static func write(
    path: String, fields: [GGUFField], announced: [Announcement],
    body: (_ index: Int, _ file: OutputFile) throws -> Void
  ) throws {
    try requireDistinct(fields.map(\.key), "metadata keys", path)
    try requireDistinct(announced.map(\.name), "tensors", path)
    let header = try header(fields, announced, path)
    try AtomicFile.write(path: path) { file in
      try file.write(header)
      for (index, tensor) in announced.enumerated() {
        let end = file.byteCount + tensor.byteCount
        try body(index, file)
        precondition(file.byteCount == end, "tensor `\(tensor.name)` ended at byte \(file.byteCount), not \(end)")
        try file.write(padding(after: end))
      }
    }
  }

  private static func requireDistinct(_ names: [String], _ what: String, _ path: String) throws {
    var seen: Set<String> = []
    guard let twice = names.first(where: { !seen.insert($0).inserted }) else { return }
    throw LocatedError(path: path, problem: "cannot write two \(what) named `\(twice)`")
  }

  /// Everything before the data: its end is a multiple of the alignment.
  private static func header(_ fields: [GGUFField], _ tensors: [Announcement], _ path: String) throws -> Data {
    var header = Data("GGUF".utf8) + GGUFField.bytes(UInt32(3))
    header += GGUFField.bytes(UInt64(tensors.count)) + GGUFField.bytes(UInt64(fields.count))
    for field in fields { header += GGUFField.encoded(field.key) + field.value }
    var offset = 0
    for tensor in tensors {
      guard let type = tensor.dtype.ggmlNumber, tensor.shape.count <= 4 else {
        throw LocatedError(
          path: path, problem: "GGUF files have no \(tensor.dtype) \(tensor.shape), which `\(tensor.name)` is")
      }
      header += GGUFField.encoded(tensor.name) + GGUFField.bytes(UInt32(tensor.shape.count))
      for size in tensor.shape.reversed() { header += GGUFField.bytes(UInt64(size)) }
      header += GGUFField.bytes(type) + GGUFField.bytes(UInt64(offset))
      offset += tensor.byteCount
      offset += padding(after: offset).count
    }
    return header + padding(after: header.count)
  }

  private static func padding(after count: Int) -> Data {
    Data(repeating: 0, count: (alignment - count % alignment) % alignment)
  }
}
