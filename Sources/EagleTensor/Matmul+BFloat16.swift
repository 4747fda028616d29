import COneDNN

extension Matmul {
  /// y = x wᵀ with both operands in bfloat16.
  static func bf16Forward(_ x: Tensor, _ w: Tensor, _ y: Tensor) {
    let (rows, inputs, outputs) = (x.rows, x.columns, w.shape[0])
    bf16Product(
      rows, outputs, inputs, x.bfloat16(), (inputs, 1), w.bfloat16(), (1, inputs), y.floats, outputs,
      accumulate: false)
  }

  /// C[m, n] = A[m, k] B[k, n] (+ C); A and B bfloat16 by (row, column) strides, C float32.
  package static func bf16Product(
    _ m: Int, _ n: Int, _ k: Int, _ a: Tensor, _ aStrides: (Int, Int), _ b: Tensor, _ bStrides: (Int, Int),
    _ c: UnsafeMutablePointer<Float>, _ ldc: Int, accumulate: Bool
  ) {
    let done = tryBF16Product(m, n, k, a, aStrides, b, bStrides, c, ldc, accumulate: accumulate)
    precondition(done, "oneDNN refused a bf16 product [\(m), \(k)] x [\(k), \(n)]")
  }

  /// Whether bf16 products can be used: the processor has them, oneDNN runs one, and the result is right. Asked once.
  public static let hasBFloat16Products: Bool = {
    guard Processor.hasBFloat16 else { return false }
    let a = Tensor((0..<64).map { Float($0 % 7) - 3 }, [4, 16]).bfloat16()
    let b = Tensor((0..<48).map { Float($0 % 5) - 2 }, [3, 16]).bfloat16()
    let (y, expected) = (Tensor.zeros([4, 3]), forward(a.float32(), b.float32(), .fp32))
    let done = tryBF16Product(4, 3, 16, a, (16, 1), b, (1, 16), y.floats, 3, accumulate: false)
    return done && y.values == expected.values
  }()

  /// False when oneDNN has no implementation for this processor.
  package static func tryBF16Product(
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
