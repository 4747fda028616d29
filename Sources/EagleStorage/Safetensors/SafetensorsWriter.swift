import EagleCore
import EagleTensor
import Foundation

/// Writes safetensors files: atomically, one tensor at a time, in the order given.
package enum SafetensorsWriter {
  package static func write(
    path: String, tensors: [(name: String, tensor: Tensor)], metadata: [String: String] = [:]
  ) throws {
    let announced = tensors.map { TensorAnnouncement($0.name, $0.tensor) }
    try write(path: path, announced: announced, metadata: metadata) { try $1.write(tensors[$0].tensor) }
  }

  /// Streams tensors that never exist together: `body` writes the bytes of announcement `index` to the file, in
  /// chunks of any size.
  package static func write(
    path: String, announced: [TensorAnnouncement], metadata: [String: String] = [:],
    body: (_ index: Int, _ file: OutputFile) throws -> Void
  ) throws {
    let header = try header(announced, metadata: metadata, path: path)
    try AtomicFile.write(path: path, header: header, announced, body: body)
  }

  /// The header: length, JSON, and spaces up to a multiple of 8.
  private static func header(_ tensors: [TensorAnnouncement], metadata: [String: String], path: String) throws -> Data {
    try TensorAnnouncement.requireDistinct(["__metadata__"] + tensors.map(\.name), "tensors", path: path)
    var fields: [String] = metadata.isEmpty ? [] : ["\"__metadata__\":\(try JSONStyle.compact.text(metadata))"]
    var start = 0
    for tensor in tensors {
      let end = start + tensor.byteCount
      let shape = tensor.shape.map(String.init).joined(separator: ",")
      guard let type = tensor.dtype.safetensorsName else {
        throw LocatedError(
          path: path, problem: "safetensors files have no \(tensor.dtype), the type of `\(tensor.name)`")
      }
      let name = try JSONStyle.compact.text(tensor.name)
      fields.append("\(name):{\"dtype\":\"\(type)\",\"shape\":[\(shape)],\"data_offsets\":[\(start),\(end)]}")
      start = end
    }
    var text = Data("{\(fields.joined(separator: ","))}".utf8)
    text.append(Data(repeating: UInt8(ascii: " "), count: (8 - text.count % 8) % 8))
    return withUnsafeBytes(of: UInt64(text.count).littleEndian) { Data($0) } + text
  }
}
