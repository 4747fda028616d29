import EagleCore
import EagleStorage
import EagleTensor
import Foundation

/// The weights of a GGUF model under their Hugging Face names, written one tensor at a time: as bfloat16, and experts
/// in MXFP4 as they are.
struct GGUFWeights {
  private let file: GGUFFile
  private let items: [GGUFItem]

  /// Elements that are decoded at a time, rounded to whole rows.
  private static let chunkElements = 1 << 20

  init(file: GGUFFile, items: [GGUFItem]) { (self.file, self.items) = (file, items) }

  /// Writes model.safetensors.
  func write(to path: String, progress: (String) -> Void) throws {
    let announced = items.map { TensorAnnouncement(name: $0.target, dtype: $0.dtype, shape: $0.shape) }
    try SafetensorsWriter.write(path: path, announced: announced, metadata: ["format": "pt"]) { index, output in
      let item = items[index]
      progress("weights \(index + 1)/\(items.count): \(item.target) \(item.shape)")
      try write(item, to: output)
    }
  }

  private func write(_ item: GGUFItem, to output: OutputFile) throws {
    switch item.content {
    case .rows(let name, let first, 0, let offset): try writeRows(item, name, first, offset, to: output)
    case .rows(let name, _, let heads, _): try writePermuted(item, name, heads, to: output)
    case .interleaved(let first, let second): try writeInterleaved(item, [first, second], to: output)
    case .transposed(let names): try writeTransposed(item, names, to: output)
    case .mxfp4Blocks(let names): try writeMXFP4(names, to: output) { MXFP4Bytes.blocks($0, to: &$1) }
    case .mxfp4Scales(let names): try writeMXFP4(names, to: output) { MXFP4Bytes.scales($0, to: &$1) }
    }
  }

  /// Rows from element `first` of a tensor on.
  private func writeRows(
    _ item: GGUFItem, _ name: String, _ first: Int, _ offset: Float, to output: OutputFile
  ) throws {
    let count = item.shape.reduce(1, *)
    let columns = item.shape.last ?? 1
    let chunk = max(1, Self.chunkElements / columns) * columns
    for start in stride(from: 0, to: count, by: chunk) {
      let values = try decode(name, first + start..<first + min(start + chunk, count))
      if offset != 0 { for i in 0..<values.count { values.floats[i] -= offset } }
      try output.write(values.bfloat16())
    }
  }

  /// Rows of q or k in Hugging Face's order.
  private func writePermuted(_ item: GGUFItem, _ name: String, _ heads: Int, to output: OutputFile) throws {
    let rows = item.shape[0]
    let values = try decode(name, 0..<item.shape.reduce(1, *)).bfloat16()
    let rowBytes = values.byteCount / rows
    try withExtendedLifetime(values) {
      for row in 0..<rows {
        let source = GGUFItem.storedRow(of: row, rows: rows, heads: heads)
        try output.write(UnsafeRawBufferPointer(rebasing: values.rawBytes[source * rowBytes..<(source + 1) * rowBytes]))
      }
    }
  }

  /// Elements of two tensors, interleaved.
  private func writeInterleaved(_ item: GGUFItem, _ names: [String], to output: OutputFile) throws {
    let parts = try names.map { try file.floats($0) }
    let values = Tensor(parts[0].indices.flatMap { index in parts.map { $0[index] } }, item.shape)
    try output.write(values.bfloat16())
  }

  /// An expert's [O, I] as [I, O]; of two tensors, their outputs interleaved.
  private func writeTransposed(_ item: GGUFItem, _ names: [String], to output: OutputFile) throws {
    let (inputs, outputs) = (item.shape[1], item.shape[2] / names.count)
    for expert in 0..<item.shape[0] {
      let parts = try names.map { try decode($0, expert * inputs * outputs..<(expert + 1) * inputs * outputs) }
      let values = Tensor([inputs, outputs * names.count])
      for (part, source) in parts.enumerated() {
        for row in 0..<outputs {
          for column in 0..<inputs {
            values.floats[(column * outputs + row) * names.count + part] = source.floats[row * inputs + column]
          }
        }
      }
      try output.write(values.bfloat16())
    }
  }

  /// Rows of the tensors, interleaved, each as bytes.
  private func writeMXFP4(
    _ names: [String], to output: OutputFile, _ convert: (UnsafeRawBufferPointer, inout [UInt8]) -> Void
  ) throws {
    let shape = try file.info(names[0]).shape
    let rowBytes = shape[2] / 32 * MXFP4Bytes.blockLength
    for expert in 0..<shape[0] {
      var bytes: [UInt8] = []
      for row in 0..<shape[1] {
        for name in names {
          let start = (expert * shape[1] + row) * rowBytes
          try file.withBytes(of: name) {
            convert(UnsafeRawBufferPointer(rebasing: $0[start..<start + rowBytes]), &bytes)
          }
        }
      }
      try bytes.withUnsafeBytes { try output.write($0) }
    }
  }

  private func decode(_ name: String, _ elements: Range<Int>) throws -> Tensor {
    let values = Tensor([elements.count])
    try file.decode(name, elements: elements, to: values.floats)
    return values
  }

  /// Whether the head is the embedding: the file has no head, or the same bytes again.
  static func isTied(_ file: GGUFFile) throws -> Bool {
    guard file.contains(tensor: "output.weight") else { return true }
    let embedding = try file.info("token_embd.weight")
    let head = try file.info("output.weight")
    guard embedding.type == head.type, embedding.shape == head.shape else { return false }
    return try file.withBytes(of: "token_embd.weight") { first in
      try file.withBytes(of: "output.weight") { second in
        guard let first = first.baseAddress, let second = second.baseAddress else { return true }
        return memcmp(first, second, head.range.count) == 0
      }
    }
  }
}

/// The bytes of MXFP4 blocks: GGUF stores a scale and 16 bytes, whose low halves are elements 0 to 15 and whose high
/// halves 16 to 31. Hugging Face stores the scales separately, and two neighbouring elements in a byte, the first one
/// low.
private enum MXFP4Bytes {
  static let blockLength = 17

  static func scales(_ row: UnsafeRawBufferPointer, to bytes: inout [UInt8]) {
    for start in stride(from: 0, to: row.count, by: blockLength) { bytes.append(row[start]) }
  }

  static func blocks(_ row: UnsafeRawBufferPointer, to bytes: inout [UInt8]) {
    for start in stride(from: 1, to: row.count, by: blockLength) {
      func code(_ element: Int) -> UInt8 {
        element < 16 ? row[start + element] & 15 : row[start + element - 16] >> 4
      }
      for pair in 0..<16 { bytes.append(code(2 * pair) | code(2 * pair + 1) << 4) }
    }
  }
}
