import CEagleKernels
import COpenBLAS
import EagleCore

// R rows · I inputs · O outputs. A weight is [O, I], as PyTorch stores it.

/// The library behind the float32 GEMMs.
package enum Backend: String, Sendable, CaseIterable {
  case avx2Kernels = "own kernels for AVX2"
  case avx512Kernels = "own kernels for AVX-512"
  case openBLAS = "OpenBLAS"
}

/// Matmuls of activations with weights, and their gradients.
package enum Matmul {
  /// The path that GEMMs of this precision take on this machine, for people to read.
  package static func describe(_ precision: ComputePrecision) -> String {
    let path = "\(fp32Backend.rawValue), \(Processor.name)"
    return switch (precision, bfloat16Support) {
    case (.bf16, .kernels): "bf16 products (own kernels, \(Processor.name))"
    case (.bf16, .wideKernels): "bf16 operands, multiplied in fp32 (\(path))"
    case (.bf16, .oneDNN): "bf16 products (oneDNN, \(Processor.name))"
    case (.bf16, .emulated): "bf16 products by rounding to bf16 and multiplying in fp32 (\(path))"
    case (.bf16, .none): "fp32 products (\(path); this processor has no AVX-512)"
    case (.fp32, _): "fp32 products (\(path))"
    }
  }

  /// The path that batch-invariant matmuls of this precision take on this machine, for people to read.
  package static func describe(batchInvariant precision: ComputePrecision) -> String {
    let kind = MatmulMode.batchInvariant(precision).roundsRows ? "bf16" : "fp32"
    return "batch-invariant \(kind) products (\(Processor.name))"
  }

  /// The backend of float32 GEMMs.
  static let fp32Backend: Backend =
    Processor.hasAVX512 ? .avx512Kernels : Processor.hasAVX2 ? .avx2Kernels : .openBLAS

  /// y[r, o] = Σ_i x[r, i] · w[o, i] (+ bias[o])
  ///
  /// - Parameters:
  ///   - x: [R, I] float32, or bfloat16 where GEMMs of the precision take it
  ///   - w: [O, I] of any type of weights
  ///   - bias: [O] float32
  ///   - precision: the precision of the operands
  /// - Returns: [R, O] float32
  package static func forward(_ x: Tensor, _ w: Tensor, bias: Tensor? = nil, _ precision: ComputePrecision) -> Tensor {
    forward(x, w, bias: bias, .gemm(precision))
  }

  package static func forward(_ x: Tensor, _ w: Tensor, bias: Tensor? = nil, _ mode: MatmulMode) -> Tensor {
    let (rows, inputs, outputs) = (x.rows, x.columns, w.shape[0])
    precondition(w.shape == [outputs, inputs], "product of \(x.shape) with weight \(w.shape)")
    guard case .gemm(let precision) = mode else { return SmallMatmul.apply(x, [(w, bias)], mode)[0] }
    let y = Tensor([rows, outputs])
    multiply(x, w, into: y, accumulate: false, precision)
    if let bias { addBias(bias, to: y) }
    return y
  }

  /// The matmuls of one x with several weights, each as `forward` gives it. Decoding runs them in one parallel
  /// loop.
  package static func forward(_ x: Tensor, _ weights: [(w: Tensor, bias: Tensor?)], _ mode: MatmulMode) -> [Tensor] {
    guard mode.isBatchInvariant else {
      let x = takesBFloat16(mode) ? x.bfloat16() : x
      return weights.map { forward(x, $0.w, bias: $0.bias, mode) }
    }
    return SmallMatmul.apply(x, weights, mode)
  }

  /// y[r, o] += Σ_i x[r, i] · w[o, i] with y of float32, for residual streams.
  package static func accumulate(_ x: Tensor, _ w: Tensor, into y: Tensor, _ precision: ComputePrecision) {
    accumulate(x, w, into: y, .gemm(precision))
  }

  package static func accumulate(_ x: Tensor, _ w: Tensor, into y: Tensor, _ mode: MatmulMode) {
    precondition(y.shape == [x.rows, w.shape[0]] && w.shape[1] == x.columns, "\(x.shape) by \(w.shape) to \(y.shape)")
    if case .gemm(let precision) = mode {
      multiply(x, w, into: y, accumulate: true, precision)
    } else {
      Elementwise.accumulate(forward(x, w, mode), into: y)
    }
  }

  private static func multiply(
    _ x: Tensor, _ w: Tensor, into y: Tensor, accumulate: Bool, _ precision: ComputePrecision
  ) {
    let (rows, outputs) = (x.rows, w.shape[0])
    guard rows > 0 else { return }
    let target = MutableFloatMatrix(y.floats, rows: rows, columns: outputs, stride: outputs)
    if takesBFloat16(precision) {
      let a = x.bfloat16()
      return forEachBlock(of: w, as: .bfloat16) { block, first in
        let columns = MutableFloatMatrix(target.base + first, rows: rows, columns: block.shape[0], stride: outputs)
        bf16Gemm(a.bfloat16Matrix, block.bfloat16Matrix.transposed, into: columns, accumulate: accumulate)
      }
    }
    if w.dtype == .bfloat16, fp32Backend != .openBLAS {
      return wideningGemm(x.matrix, w.bfloat16Matrix.transposed, into: target, accumulate: accumulate)
    }
    forEachBlock(of: w, as: .float32) { block, first in
      let columns = MutableFloatMatrix(target.base + first, rows: rows, columns: block.shape[0], stride: outputs)
      gemm(x.matrix, block.matrix.transposed, into: columns, accumulate: accumulate)
    }
  }

  /// dx[r, i] = Σ_o dy[r, o] · w[o, i] (+ dx[r, i])
  package static func inputGradient(
    _ dy: Tensor, _ w: Tensor, into dx: Tensor, accumulate: Bool, _ precision: ComputePrecision
  ) {
    let (rows, inputs, outputs) = (dy.rows, w.shape[1], w.shape[0])
    precondition(dy.columns == outputs && dx.count == rows * inputs, "gradient \(dy.shape) through \(w.shape)")
    guard rows > 0 else { return }
    let target = MutableFloatMatrix(dx.floats, rows: rows, columns: inputs, stride: inputs)
    if takesBFloat16(precision) {
      let (a, b) = (dy.bfloat16(), w.bfloat16())
      return withExtendedLifetime((a, b)) {
        bf16Gemm(a.bfloat16Matrix, b.bfloat16Matrix, into: target, accumulate: accumulate)
      }
    }
    if w.dtype == .bfloat16, fp32Backend != .openBLAS {
      return wideningGemm(dy.matrix, w.bfloat16Matrix, into: target, accumulate: accumulate)
    }
    forEachBlock(of: w, as: .float32) { block, first in
      let columns = FloatMatrix(dy.floats + first, rows: rows, columns: block.shape[0], stride: outputs)
      gemm(columns, block.matrix, into: target, accumulate: accumulate || first > 0)
    }
  }

  /// dw[o, i] += Σ_r dy[r, o] · x[r, i]
  package static func accumulateWeightGradient(
    _ dy: Tensor, _ x: Tensor, into dw: Tensor, _ precision: ComputePrecision
  ) {
    let (rows, inputs, outputs) = (x.rows, x.columns, dy.columns)
    precondition(
      dy.rows == rows && dw.shape == [outputs, inputs], "weight gradient \(dw.shape) of \(dy.shape), \(x.shape)")
    guard rows > 0 else { return }
    if takesBFloat16(precision) {
      let (a, b) = (dy.bfloat16(), x.bfloat16())
      return withExtendedLifetime((a, b)) {
        bf16Gemm(a.bfloat16Matrix.transposed, b.bfloat16Matrix, into: dw.mutableMatrix, accumulate: true)
      }
    }
    gemm(dy.matrix.transposed, x.matrix, into: dw.mutableMatrix, accumulate: true)
  }

  // MARK: float32

  /// C[m, n] = A B (+ C) of float32 elements, rounded to bfloat16 where GEMMs of the precision take it. Our own kernels
  /// do it, on processors with AMX, too.
  package static func roundedGemm(
    _ a: FloatMatrix, _ b: FloatMatrix, into c: MutableFloatMatrix, accumulate: Bool, precision: ComputePrecision,
    isFast: Bool = Processor.hasFastBFloat16Products
  ) {
    if !takesBFloat16(precision) || bfloat16Support == .emulated {
      gemm(a, b, into: c, accumulate: accumulate)
    } else if isFast {
      Gemm<BFloat16Kernel<RoundingPairPacking>>(a: a, b: b, c: c, accumulate: accumulate).run()
    } else {
      Gemm<AVX512Kernel<RoundingPacking, RoundingPacking>>(a: a, b: b, c: c, accumulate: accumulate).run()
    }
  }

  /// C[m, n] = A B (+ C) of float32.
  package static func gemm(
    _ a: FloatMatrix, _ b: FloatMatrix, into c: MutableFloatMatrix, accumulate: Bool, backend: Backend = fp32Backend
  ) {
    precondition(
      a.columns == b.rows && c.rows == a.rows && c.columns == b.columns,
      "GEMM of \(a.shape) and \(b.shape) into \(c.shape)")
    switch backend {
    case .avx2Kernels: Gemm<Float32Kernel>(a: a, b: b.map { .float32($0) }, c: c, accumulate: accumulate).run()
    case .avx512Kernels: Gemm<AVX512Kernel<FloatPacking, FloatPacking>>(a: a, b: b, c: c, accumulate: accumulate).run()
    case .openBLAS:
      cblas_sgemm(
        CblasRowMajor, a.isTransposed ? CblasTrans : CblasNoTrans, b.isTransposed ? CblasTrans : CblasNoTrans,
        Int32(c.rows), Int32(c.columns), Int32(a.columns), 1, a.base, Int32(a.stride), b.base, Int32(b.stride),
        accumulate ? 1 : 0, c.base, Int32(c.stride))
    }
  }

  /// C[m, n] = A B (+ C) of float32 rows and bfloat16 weights, which have no float32 copy, by our own kernels.
  private static func wideningGemm(
    _ a: FloatMatrix, _ b: BFloat16Matrix, into c: MutableFloatMatrix, accumulate: Bool
  ) {
    if Processor.hasAVX512 {
      Gemm<AVX512Kernel<FloatPacking, WideningPacking>>(a: a, b: b, c: c, accumulate: accumulate).run()
    } else {
      Gemm<Float32Kernel>(a: a, b: b.map { .bfloat16($0) }, c: c, accumulate: accumulate).run()
    }
  }

  /// Calls `body` with the rows of a weight in another type and the index of the first: all at once when they have it,
  /// else as many as have four million elements, converted just before use. That costs one conversion a weight against
  /// 2 R operations, and a target never has a copy in another type.
  private static func forEachBlock(of w: Tensor, as dtype: DType, _ body: (Tensor, Int) -> Void) {
    if w.dtype == dtype { return body(w, 0) }
    let (outputs, inputs) = (w.shape[0], w.shape[1])
    let blockRows = min(outputs, max(8, (4 << 20) / max(1, inputs) / 8 * 8))
    let scratch = Tensor([blockRows, inputs], dtype: dtype)
    for first in stride(from: 0, to: outputs, by: blockRows) {
      let count = min(blockRows, outputs - first)
      w.convert(rows: first..<first + count, into: scratch)
      body(scratch.slice(0..<count), first)
    }
  }

  private static func addBias(_ bias: Tensor, to y: Tensor) {
    Parallel.forEachRange(y.rows, grain: 64) { range in
      for row in range { eagle_accumulate(bias.floats, y.floats + row * y.columns, Int64(y.columns)) }
    }
  }
}
