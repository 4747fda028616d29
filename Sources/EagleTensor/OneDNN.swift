import COneDNN

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

/// A GEMM that oneDNN did not do.
package struct OneDNNError: Error, CustomStringConvertible {
  package let status: UInt32
  /// The shapes of both operands.
  package let left, right: [Int]

  package var description: String { "oneDNN failed at a GEMM of \(left) and \(right): \(reason)" }

  private var reason: String {
    switch dnnl_status_t(status) {
    case dnnl_out_of_memory: "out of memory"
    case dnnl_invalid_arguments: "invalid arguments"
    case dnnl_runtime_error: "runtime error"
    default: "status \(status)"
    }
  }
}

extension Matmul {
  /// C[m, n] = A[m, k] B[k, n] (+ C) by oneDNN; A and B bfloat16, C float32.
  package static func oneDNNGemm(
    _ a: BFloat16Matrix, _ b: BFloat16Matrix, into c: MutableFloatMatrix, accumulate: Bool
  ) throws(OneDNNError) {
    var (x, y, z) = (eagle_dnnl_matrix(a), eagle_dnnl_matrix(b), eagle_dnnl_matrix(c))
    let status = eagle_dnnl_matmul_bf16(OneDNN.shared.engine, OneDNN.shared.stream, &x, &y, &z, accumulate ? 1 : 0)
    if status != dnnl_success { throw OneDNNError(status: status.rawValue, left: a.shape, right: b.shape) }
  }

  /// Runs a GEMM that oneDNN was chosen for. There is no fallback to another library: a tensor operation has no error
  /// to throw, so the process stops, as it does when the system refuses memory for a tensor.
  static func requireOneDNN(_ gemm: () throws(OneDNNError) -> Void) {
    do { try gemm() } catch { preconditionFailure(error.description) }
  }
}

extension eagle_dnnl_matrix {
  init<Element>(_ m: MatrixView<UnsafePointer<Element>>) {
    self.init(m.map { UnsafeMutablePointer(mutating: $0) })
  }

  init<Element>(_ m: MatrixView<UnsafeMutablePointer<Element>>) {
    self.init(
      data: m.base, rows: m.rows, columns: m.columns, row_stride: m.rowStride, column_stride: m.columnStride)
  }
}
