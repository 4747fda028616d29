import EagleCore
import EagleTensor
import Foundation

/// Writes GGUF files, version 3: atomically, one tensor at a time, in the order given.
package enum GGUFWriter {
  /// Tensors begin at multiples of it, from the start of the data; what a file without `general.alignment` has.
  private static let alignment = 32

  package static func write(path: String, fields: [GGUFField], tensors: [(name: String, tensor: Tensor)]) throws {
    let announced = tensors.map { TensorAnnouncement($0.name, $0.tensor) }
    try write(path: path, fields: fields, announced: announced) { try $1.write(tensors[$0].tensor) }
  }

  /// Streams tensors that never exist together: `body` writes the bytes of announcement `index` to the file, in
  /// chunks of any size.
  ///
  /// - Throws: `LocatedError` for a key or a name that comes twice, a tensor of more than four dimensions and a type
  ///   that the format does not have, and when the file cannot be written
  package static func write(
    path: String, fields: [GGUFField], announced: [TensorAnnouncement],
    body: (_ index: Int, _ file: OutputFile) throws -> Void
  ) throws {
    try TensorAnnouncement.requireDistinct(fields.map(\.key), "metadata keys", path: path)
    try TensorAnnouncement.requireDistinct(announced.map(\.name), "tensors", path: path)
    let header = try header(fields, announced, path)
    try AtomicFile.write(path: path, header: header, announced, alignment: alignment, body: body)
  }

  /// Everything before the data: its end is a multiple of the alignment.
  private static func header(_ fields: [GGUFField], _ tensors: [TensorAnnouncement], _ path: String) throws -> Data {
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

  private static func padding(after end: Int) -> Data {
    TensorAnnouncement.padding(after: end, alignment: alignment)
  }
}
