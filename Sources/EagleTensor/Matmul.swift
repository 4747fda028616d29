import CEagleKernels
import COneDNN
import COpenBLAS

// R rows · I inputs · O outputs. A weight is [O, I], as PyTorch stores it.

/// How a matrix product is computed.
public enum Products: Sendable, Equatable {
  /// Operands in float32.
  case fp32
  /// Operands rounded to bfloat16, sums in float32, where the processor has such products; float32 elsewhere.
  case bf16
  /// For decoding: bound by memory, one pass over the weights, and a row's bits do not depend on the other rows.
  case invariant
  /// The same, with a row rounded to bfloat16 where it meets bfloat16 weights, if the processor has such products of vectors.
  case invariantBF16

  /// Whether a row's bits do not depend on the other rows.
  public var isInvariant: Bool { self == .invariant || self == .invariantBF16 }
  /// Whether a row is rounded where it meets bfloat16 weights in such products, on this processor.
  public var roundsRows: Bool { self == .invariantBF16 && Processor.hasAVX512BFloat16 }
}

/// The library behind the float32 products.
public enum Backend: String, Sendable, CaseIterable {
  case kernels = "own kernels"
  case oneDNN
  case openBLAS = "OpenBLAS"
}

/// Matrix products of activations with weights, and their gradients.
public enum Matmul {
  /// Which path `products` takes on this machine, for people to read.
  public static func describe(_ products: Products) -> String {
    let place = "\(fp32Backend.rawValue), \(Processor.name)"
    return switch (products, bfloat16Support) {
    case (.bf16, .kernels): "bf16 products (own kernels, \(Processor.name))"
    case (.bf16, .oneDNN): "bf16 products (oneDNN, \(Processor.name))"
    case (.bf16, .emulated): "bf16 products by rounding to bf16 and multiplying in fp32 (\(place))"
    case (.bf16, .none): "fp32 products (\(place); this processor has no bf16 products)"
    case (.fp32, _): "fp32 products (\(place))"
    case (.invariant, _): "batch-invariant fp32 products (\(Processor.name))"
    case (.invariantBF16, _):
      products.roundsRows ? "batch-invariant bf16 products (\(Processor.name))" : describe(.invariant)
    }
  }

  /// Who multiplies in float32. The kernels are written for AVX2; oneDNN's use AVX-512.
  static let fp32Backend: Backend = Processor.hasAVX512 ? .oneDNN : Processor.hasAVX2 ? .kernels : .openBLAS

  /// y[r, o] = Σ_i x[r, i] · w[o, i] (+ bias[o])
  ///
  /// - Parameters:
  ///   - x: [R, I] float32, or bfloat16 for products that take it
  ///   - w: [O, I] float32, bfloat16, or quantized to 8 bits, which `products` does not change
  ///   - bias: [O] float32
  ///   - products: who multiplies, and in which precision
  /// - Returns: [R, O] float32
  public static func forward(_ x: Tensor, _ w: Tensor, bias: Tensor? = nil, _ products: Products) -> Tensor {
    let (rows, inputs, outputs) = (x.rows, x.columns, w.shape[0])
    precondition(w.shape == [outputs, inputs], "product of \(x.shape) with weight \(w.shape)")
    if products.isInvariant || w.dtype == .int8 { return SmallMatmul.apply(x, [(w, bias)], products)[0] }
    let y = Tensor([rows, outputs])
    multiply(x, w, into: y, accumulate: false, products)
    if let bias { addBias(bias, to: y) }
    return y
  }

  /// The products of one x with several weights, each as `forward` gives it. Decoding starts its threads once for all.
  public static func forward(_ x: Tensor, _ weights: [(w: Tensor, bias: Tensor?)], _ products: Products) -> [Tensor] {
    guard products.isInvariant || weights.contains(where: { $0.w.dtype == .int8 }) else {
      let x = takesBFloat16(products) ? x.bfloat16() : x
      return weights.map { forward(x, $0.w, bias: $0.bias, products) }
    }
    return SmallMatmul.apply(x, weights, products)
  }

  /// y[r, o] += Σ_i x[r, i] · w[o, i] with y of float32, for residual streams.
  public static func accumulate(_ x: Tensor, _ w: Tensor, into y: Tensor, _ products: Products) {
    precondition(y.shape == [x.rows, w.shape[0]] && w.shape[1] == x.columns, "\(x.shape) by \(w.shape) to \(y.shape)")
    if products.isInvariant || w.dtype == .int8 {
      Elementwise.accumulate(forward(x, w, products), into: y)
    } else {
      multiply(x, w, into: y, accumulate: true, products)
    }
  }

  private static func multiply(_ x: Tensor, _ w: Tensor, into y: Tensor, accumulate: Bool, _ products: Products) {
    let (rows, inputs, outputs) = (x.rows, x.columns, w.shape[0])
    guard rows > 0 else { return }
    if takesBFloat16(products) {
      let (a, b) = (x.bfloat16(), w.bfloat16())
      bf16Product(rows, outputs, inputs, a, (inputs, 1), b, (1, inputs), y.floats, outputs, accumulate: accumulate)
      return
    }
    if fp32Backend == .kernels {
      return Gemm<Float32Kernel>(
        m: rows, n: outputs, k: inputs, a: x.floats, aStrides: (inputs, 1), b: weights(w), bStrides: (1, inputs),
        c: y.floats, ldc: outputs, accumulate: accumulate
      ).run()
    }
    forEachWideBlock(of: w) { block, first in
      gemm(
        .plain, .transposed, rows, block.shape[0], inputs, x.floats, inputs, block.floats, inputs,
        y.floats + first, outputs, accumulate: accumulate)
    }
  }

  /// dx[r, i] = Σ_o dy[r, o] · w[o, i] (+ dx[r, i])
  public static func inputGradient(
    _ dy: Tensor, _ w: Tensor, into dx: Tensor, accumulate: Bool, _ products: Products
  ) {
    let (rows, inputs, outputs) = (dy.rows, w.shape[1], w.shape[0])
    precondition(dy.columns == outputs && dx.count == rows * inputs, "gradient \(dy.shape) through \(w.shape)")
    guard rows > 0 else { return }
    if takesBFloat16(products) {
      let (a, b) = (dy.bfloat16(), w.bfloat16())
      bf16Product(rows, inputs, outputs, a, (outputs, 1), b, (inputs, 1), dx.floats, inputs, accumulate: accumulate)
      return
    }
    if fp32Backend == .kernels {
      return Gemm<Float32Kernel>(
        m: rows, n: inputs, k: outputs, a: dy.floats, aStrides: (outputs, 1), b: weights(w), bStrides: (inputs, 1),
        c: dx.floats, ldc: inputs, accumulate: accumulate
      ).run()
    }
    forEachWideBlock(of: w) { block, first in
      gemm(
        .plain, .plain, rows, inputs, block.shape[0], dy.floats + first, outputs, block.floats, inputs,
        dx.floats, inputs, accumulate: accumulate || first > 0)
    }
  }

  /// dw[o, i] += Σ_r dy[r, o] · x[r, i]
  public static func accumulateWeightGradient(_ dy: Tensor, _ x: Tensor, into dw: Tensor, _ products: Products) {
    let (rows, inputs, outputs) = (x.rows, x.columns, dy.columns)
    precondition(
      dy.rows == rows && dw.shape == [outputs, inputs], "weight gradient \(dw.shape) of \(dy.shape), \(x.shape)")
    guard rows > 0 else { return }
    if takesBFloat16(products) {
      let (a, b) = (dy.bfloat16(), x.bfloat16())
      bf16Product(outputs, inputs, rows, a, (1, outputs), b, (inputs, 1), dw.floats, inputs, accumulate: true)
      return
    }
    gemm(
      .transposed, .plain, outputs, inputs, rows, dy.floats, outputs, x.floats, inputs, dw.floats, inputs,
      accumulate: true)
  }

  // MARK: float32

  package enum Side: Int8 {
    case plain = 78  // 'N'
    case transposed = 84  // 'T'
  }

  /// C[m, n] = A B (+ C) of float32 numbers, rounded to bfloat16 where that is asked for and our own kernels do it.
  package static func roundedGemm(
    _ a: Side, _ b: Side, _ m: Int, _ n: Int, _ k: Int, _ x: UnsafePointer<Float>, _ ldx: Int,
    _ w: UnsafePointer<Float>, _ ldw: Int, _ y: UnsafeMutablePointer<Float>, _ ldy: Int, accumulate: Bool,
    _ products: Products
  ) {
    guard products == .bf16, bfloat16Support != .emulated, Processor.hasAVX512BFloat16 else {
      return gemm(a, b, m, n, k, x, ldx, w, ldw, y, ldy, accumulate: accumulate)
    }
    Gemm<RoundingKernel>(
      m: m, n: n, k: k, a: x, aStrides: a == .plain ? (ldx, 1) : (1, ldx), b: w,
      bStrides: b == .plain ? (ldw, 1) : (1, ldw), c: y, ldc: ldy, accumulate: accumulate
    ).run()
  }

  /// C[m, n] = A B (+ C), row-major with leading dimensions.
  package static func gemm(
    _ a: Side, _ b: Side, _ m: Int, _ n: Int, _ k: Int, _ x: UnsafePointer<Float>, _ ldx: Int,
    _ w: UnsafePointer<Float>, _ ldw: Int, _ y: UnsafeMutablePointer<Float>, _ ldy: Int, accumulate: Bool,
    backend: Backend = fp32Backend
  ) {
    let beta: Float = accumulate ? 1 : 0
    switch backend {
    case .kernels:
      return Gemm<Float32Kernel>(
        m: m, n: n, k: k, a: x, aStrides: a == .plain ? (ldx, 1) : (1, ldx), b: .float32(w),
        bStrides: b == .plain ? (ldw, 1) : (1, ldw), c: y, ldc: ldy, accumulate: accumulate
      ).run()
    case .oneDNN:
      let status = eagle_dnnl_sgemm(a.rawValue, b.rawValue, m, n, k, x, ldx, w, ldw, beta, y, ldy)
      if status == dnnl_success { return }
    case .openBLAS: break
    }
    cblas_sgemm(
      CblasRowMajor, a == .plain ? CblasNoTrans : CblasTrans, b == .plain ? CblasNoTrans : CblasTrans,
      Int32(m), Int32(n), Int32(k), 1, x, Int32(ldx), w, Int32(ldw), beta, y, Int32(ldy))
  }

  private static func weights(_ w: Tensor) -> Float32Kernel.Right {
    w.dtype == .bfloat16 ? .bfloat16(w.bfloats) : .float32(w.floats)
  }

  /// Calls `body` with the rows of a weight as float32 and the index of the first: all at once when they are float32,
  /// else in blocks of at most 16 MB, widened just before use. Widening costs one conversion a weight against 2 R
  /// operations, and a target of 8 GB in bfloat16 never has a float32 copy.
  private static func forEachWideBlock(of w: Tensor, _ body: (Tensor, Int) -> Void) {
    if w.dtype == .float32 { return body(w, 0) }
    let (outputs, inputs) = (w.shape[0], w.shape[1])
    let blockRows = max(1, min(outputs, (4 << 20) / max(1, inputs)))
    let scratch = Tensor([blockRows, inputs])
    for first in stride(from: 0, to: outputs, by: blockRows) {
      let count = min(blockRows, outputs - first)
      Tensor.widen(w.slice(first..<first + count), into: scratch.floats)
      body(scratch.slice(0..<count), first)
    }
  }

  private static func addBias(_ bias: Tensor, to y: Tensor) {
    Parallel.forEachRange(y.rows, grain: 64) { range in
      for row in range { eagle_accumulate(bias.floats, y.floats + row * y.columns, Int64(y.columns)) }
    }
  }
}
