import EagleCore

/// The kernels behind a matrix product. The model and the tape choose them; callers choose a precision.
package enum MatmulMode: Sendable, Equatable {
  /// GEMM, for many rows. With bf16 both operands are rounded where the processor has such products; float32 elsewhere.
  case gemm(ComputePrecision)
  /// Small-M matmul for decoding: bound by memory, one pass over the weights, and a row's bits do not depend on the
  /// other rows. With bf16 a row is rounded where it meets bfloat16 weights, if the processor has fast vector
  /// products of them, and to 8 bits where it meets weights in blocks; with fp32 it is not.
  case batchInvariant(ComputePrecision)

  /// Whether a row's bits do not depend on the other rows.
  package var isBatchInvariant: Bool {
    if case .batchInvariant = self { true } else { false }
  }

  /// Whether a row is rounded to 8 bits in groups of 32 where it meets weights in blocks in batch-invariant products.
  package var quantizesRows: Bool { self == .batchInvariant(.bf16) }

  /// Whether a row is rounded where it meets bfloat16 weights in batch-invariant products, on this processor.
  package var roundsRows: Bool { self == .batchInvariant(.bf16) && Processor.hasFastBFloat16Products }
}
