import EagleCore
import EagleTensor
import Foundation

/// Writes safetensors files: atomically, one tensor at a time, in the order given.
package enum SafetensorsWriter {
  /// A tensor that is to come.
  package struct Announcement: Sendable {
    package let name: String
    package let dtype: DType
    package let shape: [Int]

    package init(name: String, dtype: DType, shape: [Int]) {
      self.name = name
      self.dtype = dtype
      self.shape = shape
    }
  }

  package static func write(
    path: String, tensors: [(name: String, tensor: Tensor)], metadata: [String: String] = [:]
  ) throws {
    let announced = tensors.map { Announcement(name: $0.name, dtype: $0.tensor.dtype, shape: $0.tensor.shape) }
    try write(path: path, announced: announced, metadata: metadata) { index, file in
      let tensor = tensors[index].tensor
      try withExtendedLifetime(tensor) { try file.write(UnsafeRawBufferPointer(tensor.rawBytes)) }
    }
  }

  /// Streams tensors that never exist together: `body` writes the bytes of announcement `index` to the file, in
  /// chunks of any size.
  package static func write(
    path: String, announced: [Announcement], metadata: [String: String] = [:],
    body: (_ index: Int, _ file: OutputFile) throws -> Void
  ) throws {
    let header = try header(announced, metadata: metadata, path: path)
    try AtomicFile.write(path: path) { file in
      try file.write(header)
      for (index, tensor) in announced.enumerated() {
        let end = file.byteCount + tensor.shape.reduce(1, *) * tensor.dtype.size
        try body(index, file)
        precondition(file.byteCount == end, "tensor `\(tensor.name)` ended at byte \(file.byteCount), not \(end)")
      }
    }
  }

  /// The header: length, JSON, and spaces up to a multiple of 8.
  private static func header(_ tensors: [Announcement], metadata: [String: String], path: String) throws -> Data {
    var names: Set<String> = ["__metadata__"]
    if let twice = tensors.first(where: { !names.insert($0.name).inserted }) {
      throw LocatedError(path: path, problem: "cannot write two tensors named `\(twice.name)`")
    }
    var fields: [String] = metadata.isEmpty ? [] : ["\"__metadata__\":\(try JSONStyle.compact.text(metadata))"]
    var start = 0
    for tensor in tensors {
      let end = start + tensor.dtype.bytes(tensor.shape.reduce(1, *))
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
