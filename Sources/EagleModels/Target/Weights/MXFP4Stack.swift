import EagleCore
import EagleTensor

// E experts · O outputs · I inputs.

/// Matrices of experts in MXFP4: 32 elements share a power of two and have four bits each (OCP Microscaling Formats 1.0).
///
/// A block is 16 bytes, whose low halves are the even elements and whose high halves the odd ones; its scale is
/// 2^(byte - 127). All values are exact in bfloat16.
struct MXFP4Stack: Sendable {
  private let blocks: Tensor  // uint8 [E, O, I / 32, 16]
  private let scales: Tensor  // uint8 [E, O, I / 32]
  private let outputs: Int
  private let inputs: Int

  /// The values of the sixteen codes.
  private static let values: [Float] = [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6]

  init(_ reader: WeightReader, _ name: String, count: Int, outputs: Int, inputs: Int) throws {
    guard inputs % 32 == 0 else {
      throw LocatedError(
        path: reader.folder.path,
        problem: "`\(name)_blocks` is in MXFP4, and its rows of \(inputs) are no blocks of 32",
        advice: "check that config.json and the weights belong together")
    }
    let groups = inputs / 32
    blocks = try reader.bytes("\(name)_blocks", [count, outputs, groups, 16])
    scales = try reader.bytes("\(name)_scales", [count, outputs, groups])
    (self.outputs, self.inputs) = (outputs, inputs)
  }

  var byteCount: Int { outputs * inputs / 32 * 17 }

  /// The rows `first`, `first + step` … of an expert's matrix, bfloat16 [O / step, I].
  func matrix(_ expert: Int, from first: Int = 0, step: Int = 1) -> Tensor {
    let groups = inputs / 32
    let rows = Array(stride(from: first, to: outputs, by: step))
    let y = Tensor([rows.count, inputs], dtype: .bfloat16)
    Parallel.forEachRange(rows.count, grain: 8) { range in
      for row in range {
        let source = (expert * outputs + rows[row]) * groups
        for group in 0..<groups { expand(source + group, into: y.bfloats + row * inputs + group * 32) }
      }
    }
    return y
  }

  private func expand(_ block: Int, into y: UnsafeMutablePointer<UInt16>) {
    let bytes = blocks.storage.base.advanced(by: blocks.byteOffset + block * 16).assumingMemoryBound(to: UInt8.self)
    let exponent = scales.storage.base.advanced(by: scales.byteOffset + block).assumingMemoryBound(to: UInt8.self)[0]
    let scale = Float(sign: .plus, exponent: Int(exponent) - 127, significand: 1)
    for i in 0..<16 {
      y[2 * i] = UInt16((Self.values[Int(bytes[i] & 15)] * scale).bitPattern >> 16)
      y[2 * i + 1] = UInt16((Self.values[Int(bytes[i] >> 4)] * scale).bitPattern >> 16)
    }
  }
}
