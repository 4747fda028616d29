import CEagleKernels
import EagleCore
import Foundation

extension Matmul {
  /// The implementation of bfloat16 GEMMs. `kernels` use AVX512-BF16, `wideKernels` multiply in float32 with AVX-512,
  /// where the products of bfloat16 elements are exact, and oneDNN uses AMX.
  package enum BFloat16Support: Sendable { case kernels, wideKernels, oneDNN, emulated, none }

  /// Determined once. The environment variable `EAGLE_EMULATE_BF16=1` gives the numbers of a processor that multiplies
  /// bfloat16 on any other, except for attention and the rows of decoding: operands are rounded to bfloat16 and
  /// multiplied in float32, where their products are exact.
  package static let bfloat16Support: BFloat16Support = {
    if ProcessInfo.processInfo.environment["EAGLE_EMULATE_BF16"] == "1" { return .emulated }
    if Processor.hasAMX, oneDNNIsRight() { return .oneDNN }
    return Processor.hasFastBFloat16Products ? .kernels : Processor.hasAVX512 ? .wideKernels : .none
  }()

  /// Whether operands of GEMMs of this precision are bfloat16, so that it pays to round a tensor once for several.
  package static func takesBFloat16(_ precision: ComputePrecision) -> Bool { precision == .bf16 && hasBFloat16Products }

  package static func takesBFloat16(_ mode: MatmulMode) -> Bool { mode == .gemm(.bf16) && hasBFloat16Products }

  /// Whether bf16 matmuls multiply bfloat16 elements; otherwise they are computed in float32.
  package static var hasBFloat16Products: Bool { bfloat16Support != .none }

  /// C[m, n] = A[m, k] B[k, n] (+ C); A and B bfloat16, C float32.
  package static func bf16Gemm(
    _ a: BFloat16Matrix, _ b: BFloat16Matrix, into c: MutableFloatMatrix, accumulate: Bool,
    support: BFloat16Support = bfloat16Support
  ) {
    precondition(
      a.columns == b.rows && c.rows == a.rows && c.columns == b.columns,
      "GEMM of \(a.shape) and \(b.shape) into \(c.shape)")
    switch support {
    case .emulated: emulate(a, b, into: c, accumulate: accumulate)
    case .kernels: Gemm<BFloat16Kernel<PairPacking>>(a: a, b: b, c: c, accumulate: accumulate).run()
    case .wideKernels:
      Gemm<AVX512Kernel<WideningPacking, WideningPacking>>(a: a, b: b, c: c, accumulate: accumulate).run()
    case .oneDNN, .none:
      requireOneDNN { () throws(OneDNNError) in try oneDNNGemm(a, b, into: c, accumulate: accumulate) }
    }
  }

  /// Runs a small GEMM: oneDNN must have it, and the result must be right.
  private static func oneDNNIsRight() -> Bool {
    let a = Tensor((0..<64).map { Float($0 % 7) - 3 }, [4, 16]).bfloat16()
    let b = Tensor((0..<48).map { Float($0 % 5) - 2 }, [3, 16]).bfloat16()
    let (y, expected) = (Tensor.zeros([4, 3]), forward(a.float32(), b.float32(), .fp32))
    return withExtendedLifetime((a, b)) {
      let (x, w) = (a.bfloat16Matrix, b.bfloat16Matrix.transposed)
      guard (try? oneDNNGemm(x, w, into: y.mutableMatrix, accumulate: false)) != nil else { return false }
      return y.values == expected.values
    }
  }

  /// The same by float32 GEMMs of the rounded elements.
  private static func emulate(
    _ a: BFloat16Matrix, _ b: BFloat16Matrix, into c: MutableFloatMatrix, accumulate: Bool
  ) {
    let (x, w) = (widened(a), widened(b))
    withExtendedLifetime((x, w)) {
      let (left, right) = (a.map { _ in UnsafePointer(x.floats) }, b.map { _ in UnsafePointer(w.floats) })
      gemm(left, right, into: c, accumulate: accumulate)
    }
  }

  /// The stored elements of a matrix as float32.
  private static func widened(_ m: BFloat16Matrix) -> Tensor {
    let wide = Tensor([m.isTransposed ? m.columns : m.rows, m.stride])
    Parallel.forEachRange(wide.count, grain: 1 << 16) { range in
      eagle_bf16_to_f32(m.base + range.lowerBound, wide.floats + range.lowerBound, Int64(range.count))
    }
    return wide
  }
}
