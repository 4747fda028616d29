import EagleCore
import EagleTensor

// E experts · O outputs · I inputs.

/// Matrices of experts in MXFP4, as safetensors files of gpt-oss have them: 32 elements share a power of two and have
/// four bits each (OCP Microscaling Formats 1.0).
///
/// 16 bytes hold 32 elements, the even ones in their low halves and the odd ones in their high halves; their scale,
/// 2^(byte - 127), is stored in another tensor. Matmuls read blocks that hold both, with the first 16 elements in the
/// low halves (`DType.mxfp4`). The matrices are therefore copied, in four bits.
struct MXFP4Stack: Sendable {
  private let blocks: Tensor  // uint8 [E, O, I / 32, 16]
  private let scales: Tensor  // uint8 [E, O, I / 32]
  private let outputs: Int
  private let inputs: Int

  init(_ reader: WeightReader, _ name: String, count: Int, outputs: Int, inputs: Int) throws {
    guard inputs % 32 == 0 else {
      throw LocatedError(
        path: reader.source.path,
        problem: "`\(name)_blocks` is in MXFP4, and its rows of \(inputs) are no blocks of 32",
        advice: "check that config.json and the weights belong together")
    }
    let groups = inputs / 32
    blocks = try reader.bytes("\(name)_blocks", [count, outputs, groups, 16])
    scales = try reader.bytes("\(name)_scales", [count, outputs, groups])
    (self.outputs, self.inputs) = (outputs, inputs)
  }

  /// The rows `first`, `first + step` … of an expert's matrix, MXFP4 [O / step, I].
  func matrix(_ expert: Int, from first: Int = 0, step: Int = 1) -> Tensor {
    let groups = inputs / 32
    let rows = Array(stride(from: first, to: outputs, by: step))
    let y = Tensor([rows.count, inputs], dtype: .mxfp4)
    Parallel.forEachRange(rows.count, grain: 8) { range in
      for row in range {
        let source = (expert * outputs + rows[row]) * groups
        for group in 0..<groups { copy(source + group, to: (y.rawBytes.baseAddress! + (row * groups + group) * 17)) }
      }
    }
    return y
  }

  private func copy(_ block: Int, to target: UnsafeMutableRawPointer) {
    let codes = UnsafeRawBufferPointer(rebasing: blocks.rawBytes[block * 16..<(block + 1) * 16])
    let y = target.assumingMemoryBound(to: UInt8.self)
    y[0] = scales.rawBytes[block]
    func code(_ element: Int) -> UInt8 { codes[element / 2] >> UInt8(element % 2 * 4) & 15 }
    for i in 0..<16 { y[1 + i] = code(i) | code(16 + i) << 4 }
  }
}
