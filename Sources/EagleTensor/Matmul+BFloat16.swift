import COneDNN
import EagleCore
import Foundation

extension Matmul {
  /// What becomes of products that are asked for in bfloat16. The kernels are written for AVX512-BF16; oneDNN's use AMX.
  enum BFloat16Support { case kernels, oneDNN, emulated, none }

  /// Asked once. The environment variable `EAGLE_EMULATE_BF16=1` gives the numbers of a processor with bf16 products on any
  /// other, but for attention and the rows of decoding: operands are rounded to bfloat16 and multiplied in float32, where
  /// their products are exact.
  static let bfloat16Support: BFloat16Support = {
    if ProcessInfo.processInfo.environment["EAGLE_EMULATE_BF16"] == "1" { return .emulated }
    if Processor.hasAMX, oneDNNIsRight() { return .oneDNN }
    return Processor.hasAVX512BFloat16 ? .kernels : .none
  }()

  /// Whether operands of GEMMs of this precision are bfloat16, so that it pays to round a tensor once for several.
  public static func takesBFloat16(_ precision: ComputePrecision) -> Bool { precision == .bf16 && hasBFloat16Products }

  package static func takesBFloat16(_ mode: MatmulMode) -> Bool { mode == .gemm(.bf16) && hasBFloat16Products }

  /// Whether products that are asked for in bfloat16 come out so; float32 takes their place where they do not.
  public static var hasBFloat16Products: Bool { bfloat16Support != .none }

  /// Whether our own kernels do them.
  package static var hasOwnBFloat16Products: Bool { bfloat16Support == .kernels }

  /// C[m, n] = A[m, k] B[k, n] (+ C); A and B bfloat16 by (row, column) strides, C float32.
  package static func bf16Product(
    _ m: Int, _ n: Int, _ k: Int, _ a: Tensor, _ aStrides: (Int, Int), _ b: Tensor, _ bStrides: (Int, Int),
    _ c: UnsafeMutablePointer<Float>, _ ldc: Int, accumulate: Bool
  ) {
    switch bfloat16Support {
    case .emulated: emulate(m, n, k, a, aStrides, b, bStrides, c, ldc, accumulate: accumulate)
    case .kernels:
      Gemm<BFloat16Kernel>(
        m: m, n: n, k: k, a: a.bfloats, aStrides: aStrides, b: b.bfloats, bStrides: bStrides, c: c, ldc: ldc,
        accumulate: accumulate
      ).run()
    case .oneDNN, .none:
      let done = tryOneDNN(m, n, k, a, aStrides, b, bStrides, c, ldc, accumulate: accumulate)
      precondition(done, "oneDNN refused a bf16 product [\(m), \(k)] x [\(k), \(n)]")
    }
  }

  /// Runs a small product: oneDNN must have it, and the result must be right.
  private static func oneDNNIsRight() -> Bool {
    let a = Tensor((0..<64).map { Float($0 % 7) - 3 }, [4, 16]).bfloat16()
    let b = Tensor((0..<48).map { Float($0 % 5) - 2 }, [3, 16]).bfloat16()
    let (y, expected) = (Tensor.zeros([4, 3]), forward(a.float32(), b.float32(), .fp32))
    let done = tryOneDNN(4, 3, 16, a, (16, 1), b, (1, 16), y.floats, 3, accumulate: false)
    return done && y.values == expected.values
  }

  /// The same by float32 products of the rounded numbers.
  private static func emulate(
    _ m: Int, _ n: Int, _ k: Int, _ a: Tensor, _ aStrides: (Int, Int), _ b: Tensor, _ bStrides: (Int, Int),
    _ c: UnsafeMutablePointer<Float>, _ ldc: Int, accumulate: Bool
  ) {
    let (x, w) = (a.float32(), b.float32())
    gemm(
      aStrides.1 == 1 ? .plain : .transposed, bStrides.1 == 1 ? .plain : .transposed, m, n, k, x.floats,
      max(aStrides.0, aStrides.1), w.floats, max(bStrides.0, bStrides.1), c, ldc, accumulate: accumulate)
  }

  /// False when oneDNN has no implementation for this processor.
  package static func tryOneDNN(
    _ m: Int, _ n: Int, _ k: Int, _ a: Tensor, _ aStrides: (Int, Int), _ b: Tensor, _ bStrides: (Int, Int),
    _ c: UnsafeMutablePointer<Float>, _ ldc: Int, accumulate: Bool
  ) -> Bool {
    let status = eagle_dnnl_matmul_bf16(
      OneDNN.shared.engine, OneDNN.shared.stream, m, n, k, a.bfloats, aStrides.0, aStrides.1, b.bfloats, bStrides.0,
      bStrides.1, c, ldc, accumulate ? 1 : 0)
    return status == dnnl_success
  }
}

/// oneDNN's CPU engine and its stream, made once.
private final class OneDNN: @unchecked Sendable {
  static let shared = OneDNN()
  let engine: dnnl_engine_t
  let stream: dnnl_stream_t

  private init() {
    var engine: dnnl_engine_t?
    var stream: dnnl_stream_t?
    let made = dnnl_engine_create(&engine, dnnl_cpu, 0)
    let streamed = dnnl_stream_create(&stream, engine, UInt32(dnnl_stream_default_flags.rawValue))
    precondition(made == dnnl_success && streamed == dnnl_success, "oneDNN has no CPU engine")
    self.engine = engine!
    self.stream = stream!
  }
}
