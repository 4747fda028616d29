import CEagleKernels
import EagleTensor
import Testing

/// A plain matmul in double precision.
private func reference(_ x: Tensor, _ w: Tensor) -> [Double] {
  let (rows, inputs, outputs) = (x.rows, x.columns, w.shape[0])
  let (a, b) = (x.float32().values, w.float32().values)
  return (0..<rows * outputs).map { at in
    let (r, o) = (at / outputs, at % outputs)
    return (0..<inputs).reduce(0.0) { $0 + Double(a[r * inputs + $1]) * Double(b[o * inputs + $1]) }
  }
}

private func largestError(_ y: [Float], _ expected: [Double]) -> Double {
  let scale = expected.map(abs).max() ?? 1
  return zip(y, expected).map { abs(Double($0) - $1) }.max()! / scale
}

@Suite struct MatmulTests {
  private func operands(_ rows: Int, _ inputs: Int, _ outputs: Int) -> (x: Tensor, w: Tensor) {
    var random = RandomSource(seed: 7)
    return (
      .normal([rows, inputs], deviation: 1, using: &random), .normal([outputs, inputs], deviation: 1, using: &random)
    )
  }

  @Test(
    "matmuls agree with a reference in double precision",
    arguments: [(1, 16, 4), (3, 40, 7), (5, 129, 33), (64, 96, 200)])
  func productsAgreeWithTheReference(rows: Int, inputs: Int, outputs: Int) {
    let (x, w) = operands(rows, inputs, outputs)
    let bias = (0..<outputs).map { Float($0) / 4 }
    func biased(_ y: [Double]) -> [Double] { y.enumerated().map { $1 + Double(bias[$0 % outputs]) } }
    for weight in [w, w.bfloat16()] {
      let expected = biased(reference(x, weight))
      for mode in [MatmulMode.gemm(.fp32), .batchInvariant(.fp32)] {
        let y = Matmul.forward(x, weight, bias: Tensor(bias, [outputs]), mode)
        // because: float32 sums of up to 129 terms
        #expect(largestError(y.values, expected) < 1e-6)
      }
    }
    let rounded = Matmul.forward(x, w.bfloat16(), bias: Tensor(bias, [outputs]), .batchInvariant(.bf16))
    let operand = MatmulMode.batchInvariant(.bf16).roundsRows ? x.bfloat16() : x
    #expect(largestError(rounded.values, biased(reference(operand, w.bfloat16()))) < 1e-6)
  }

  @Test(
    "a bf16 matmul of oneDNN agrees with the reference, and can accumulate",
    .enabled(if: Processor.hasAVX512, "oneDNN computes bfloat16 on AVX-512 and newer"))
  func bfloat16ProductRunsThroughOneDNN() throws {
    let (x, w) = operands(8, 64, 24)
    let (a, b) = (x.bfloat16(), w.bfloat16())
    let y = Tensor.zeros([8, 24])
    let (left, right) = (a.bfloat16Matrix, b.bfloat16Matrix.transposed)
    try Matmul.oneDNNGemm(left, right, into: y.mutableMatrix, accumulate: false)
    // because: exact bf16 operands, float32 sums of 64 terms
    #expect(largestError(y.values, reference(a, b)) < 1e-5)
    try Matmul.oneDNNGemm(left, right, into: y.mutableMatrix, accumulate: true)
    #expect(largestError(y.values, reference(a, b).map { 2 * $0 }) < 1e-5)
  }

  /// Overlapping rows make oneDNN return an error. Without `support` it is called directly.
  private static func failingGemm(support: Matmul.BFloat16Support?) throws {
    let (x, w) = (Tensor.zeros([4, 8]).bfloat16(), Tensor.zeros([6, 8]).bfloat16())
    let y = Tensor.zeros([4, 6])
    let overlapping = BFloat16Matrix(x.bfloat16Matrix.base, rows: 4, columns: 8, stride: 2)
    try withExtendedLifetime((x, w, y)) {
      let right = w.bfloat16Matrix.transposed
      guard let support else {
        return try Matmul.oneDNNGemm(overlapping, right, into: y.mutableMatrix, accumulate: false)
      }
      Matmul.bf16Gemm(overlapping, right, into: y.mutableMatrix, accumulate: false, support: support)
    }
  }

  @Test("a failure of oneDNN is an error that names shapes and reason")
  func oneDNNErrorsAreThrown() {
    let error = #expect(throws: OneDNNError.self) { try Self.failingGemm(support: nil) }
    #expect(error?.description == "oneDNN failed at a GEMM of [4, 8] and [8, 6]: invalid arguments")
  }

  @Test("no other library takes the place of oneDNN where it was chosen and fails")
  func aFailureOfOneDNNEndsTheProcess() async {
    await #expect(processExitsWith: .failure) { try Self.failingGemm(support: .oneDNN) }
  }

  /// A matrix [rows, columns], or one that is stored [columns, rows].
  private func operand<Element>(
    _ base: UnsafeMutablePointer<Element>, _ rows: Int, _ columns: Int, transposed: Bool
  ) -> MatrixView<UnsafePointer<Element>> {
    typealias Matrix = MatrixView<UnsafePointer<Element>>
    return transposed
      ? Matrix(base, rows: columns, columns: rows, stride: rows).transposed
      : Matrix(base, rows: rows, columns: columns, stride: columns)
  }

  /// Every edge of the kernels' blocks: pairs of k, 12 rows by 32 columns in registers, 16 lines transposed at a time,
  /// 96 and 192 rows, 768 and 1024 columns, 384 and 576 of k.
  @Test(
    "bf16 kernels agree with a float32 GEMM of the same operands",
    .enabled(if: Processor.hasAVX512, "our own bfloat16 GEMMs need AVX-512"),
    arguments: [
      (1, 1, 1), (12, 32, 16), (13, 33, 31), (11, 15, 34), (97, 40, 385), (193, 40, 577), (5, 790, 3), (5, 1030, 12),
      (200, 17, 1201),
    ], [Matmul.BFloat16Support.kernels, .wideKernels])
  func bfloat16KernelsAgreeWithFloat32(shape: (m: Int, n: Int, k: Int), support: Matmul.BFloat16Support) {
    guard support == .wideKernels || Processor.hasAVX512BFloat16, Matmul.bfloat16Support != .emulated else { return }
    let (m, n, k) = shape
    var random = RandomSource(seed: 6)
    let (exactA, exactB) = (
      Tensor.normal([m * k], deviation: 1, using: &random), Tensor.normal([k * n], deviation: 1, using: &random)
    )
    let (a, b) = (exactA.bfloat16(), exactB.bfloat16())
    let (wideA, wideB) = (a.float32(), b.float32())
    let start = Tensor.normal([m * n], deviation: 1, using: &random).values
    for (left, right) in [(false, false), (false, true), (true, false)] {
      for accumulate in [false, true] {
        let (c, expected) = (Tensor(start, [m, n]), Tensor(start, [m, n]))
        Matmul.bf16Gemm(
          operand(a.bfloats, m, k, transposed: left), operand(b.bfloats, k, n, transposed: right),
          into: c.mutableMatrix, accumulate: accumulate, support: support)
        Matmul.gemm(
          operand(wideA.floats, m, k, transposed: left), operand(wideB.floats, k, n, transposed: right),
          into: expected.mutableMatrix, accumulate: accumulate, backend: .openBLAS)
        // because: the products are exact in float32, whose sums have up to 1201 terms
        #expect(largestError(c.values, expected.values.map(Double.init)) < 2e-6)
        let rounded = Tensor(start, [m, n])
        Matmul.roundedGemm(
          operand(exactA.floats, m, k, transposed: left), operand(exactB.floats, k, n, transposed: right),
          into: rounded.mutableMatrix, accumulate: accumulate, precision: .bf16, isFast: support == .kernels)
        #expect(rounded.values == c.values)
      }
    }
    withExtendedLifetime((a, b, wideA, wideB, exactA, exactB)) {}
  }

  /// Rounding in the kernels' packing: ties to even, infinities and NaNs are preserved.
  @Test(
    "kernels round operands to bf16 as tensors do",
    .enabled(if: Processor.hasAVX512 && Matmul.bfloat16Support != .emulated, "our own GEMMs need AVX-512"))
  func roundingWhilePacking() {
    let values: [Float] = [
      1 + 0x1p-8, 1 + 0x3p-8, -1 - 0x1p-8, 1 + 0x1p-8 + 0x1p-20, 0x1.fep127, .greatestFiniteMagnitude, .infinity,
      -.infinity, .nan, Float(bitPattern: 0x7fff_ffff), 0, -0.0, 3.1415927,
    ]
    let (x, one, y) = (Tensor(values, [values.count, 1]), Tensor([1], [1, 1]), Tensor([values.count, 1]))
    Matmul.roundedGemm(
      x.matrix, one.matrix, into: y.mutableMatrix, accumulate: false, precision: .bf16, isFast: false)
    for (value, expected) in zip(y.values, x.bfloat16().float32().values) {
      #expect(value == expected || value.isNaN && expected.isNaN)
    }
  }

  /// Every number of rows of a pass, and numbers that need several passes, with vectors of both widths; short weights,
  /// and long ones, which are prefetched in another way and leave less of the cache for rows.
  @Test("a row of a small-M GEMM has the same bits in any pass", arguments: 1...13, [200, 2100, 5003])
  func aRowDoesNotDependOnTheRowsBesideIt(rows: Int, inputs: Int) {
    let (x, w) = operands(rows, inputs, 67)
    for weight in [w, w.bfloat16(), halves(w)] {
      let expected = reference(x, weight)
      for lanes in Processor.hasAVX512 ? [8, 16] : [8] {
        let together = smallMatmul(x, weight, lanes)
        #expect(together == smallMatmul(x, weight, lanes, isPlain: true))
        if weight.dtype == .float16 { #expect(together == smallMatmul(x, weight.float32(), lanes)) }
        // because: float32 sums of up to 5003 terms
        #expect(largestError(together, expected) < 1e-6)
        for row in 0..<rows {
          let alone = smallMatmul(x.slice(row..<row + 1), weight, lanes)
          #expect(alone.elementsEqual(together[row * 67..<(row + 1) * 67]))
        }
        if lanes == eagle_small_matmul_lanes() {
          #expect(together == Matmul.forward(x, weight, .batchInvariant(.fp32)).values)
        }
      }
    }
    // Rows rounded to bfloat16, on processors with bf16 instructions.
    let rounded = Matmul.forward(x, w.bfloat16(), .batchInvariant(.bf16)).values
    let operand = MatmulMode.batchInvariant(.bf16).roundsRows ? x.bfloat16() : x
    #expect(largestError(rounded, reference(operand, w.bfloat16())) < 1e-6)
    if MatmulMode.batchInvariant(.bf16).roundsRows {
      #expect(rounded == run(x.bfloat16(), w.bfloat16(), eagle_small_matmul_rounded_plain))
    }
    for row in 0..<rows {
      let alone = Matmul.forward(x.slice(row..<row + 1), w.bfloat16(), .batchInvariant(.bf16)).values
      #expect(alone.elementsEqual(rounded[row * 67..<(row + 1) * 67]))
    }
    #expect(Matmul.forward(x, w, .batchInvariant(.bf16)).values == Matmul.forward(x, w, .batchInvariant(.fp32)).values)
  }

  @Test("prefetching weights changes no result") func prefetchingWeightsChangesNoResult() {
    let (x, w) = operands(2, 64, 5000)
    let (first, second) = (w.slice(0..<100), w.slice(100..<5000))
    let expected = [
      Matmul.forward(x, first, .batchInvariant(.fp32)).values, Matmul.forward(x, second, .batchInvariant(.fp32)).values,
    ]
    func expect(_ weights: [Tensor]) {
      WeightGroup(weights.map { ($0, nil) }).prefetch()
    }
    for _ in 0..<200 {
      // The second is predicted whole and in two parts; the first never follows.
      expect([second])
      #expect(Matmul.forward(x, first, .batchInvariant(.fp32)).values == expected[0])
      expect([second.slice(0..<10), second.slice(10..<4900), first])
      #expect(Matmul.forward(x, second, .batchInvariant(.fp32)).values == expected[1])
    }
  }

  /// The small-M matmul of one vector width, tuned or plain.
  private func smallMatmul(_ x: Tensor, _ w: Tensor, _ lanes: Int, isPlain: Bool = false) -> [Float] {
    let lanes = Int32(lanes)
    if isPlain { return run(x, w) { eagle_small_matmul_plain(lanes, w.dtype.weightType!, $0, $1, $2) } }
    if w.dtype == .float32 { return run(x, w) { eagle_small_matmul_f32(lanes, $0, $1, $2) } }
    if w.dtype == .float16 { return run(x, w) { eagle_small_matmul_f16(lanes, $0, $1, $2) } }
    let ordered = Tensor(x.shape)
    eagle_deinterleave(lanes, x.floats, ordered.floats, Int64(x.rows), Int64(x.columns))
    return run(ordered, w) { eagle_small_matmul_bf16(lanes, $0, $1, $2) }
  }

  /// The values rounded to float16.
  private func halves(_ w: Tensor) -> Tensor {
    let result = Tensor(w.shape, dtype: .float16)
    for (i, value) in w.values.enumerated() { result.buffer(UInt16.self)[i] = Float16(value).bitPattern }
    return result
  }

  /// All outputs of one call to a kernel.
  private func run(
    _ x: Tensor, _ w: Tensor, _ kernel: (UnsafePointer<eagle_small_matmul>, Int64, Int64) -> Void
  ) -> [Float] {
    let y = Tensor([x.rows, w.rows])
    var arguments = eagle_small_matmul()
    (arguments.x, arguments.w) = (UnsafeRawPointer(x.rawBytes.baseAddress), UnsafeRawPointer(w.rawBytes.baseAddress))
    (arguments.y, arguments.y_stride) = (y.floats, Int64(w.rows))
    (arguments.rows, arguments.k) = (Int64(x.rows), Int64(x.columns))
    withExtendedLifetime((x, w)) { kernel(&arguments, 0, Int64(w.rows)) }
    return y.values
  }

  @Test("all GEMM backends agree to rounding") func bothBackendsGiveTheSameProduct() {
    let (x, w) = operands(20, 50, 30)
    var results: [[Float]] = []
    for backend in Self.backends {
      let y = Tensor([20, 30])
      Matmul.gemm(x.matrix, w.matrix.transposed, into: y.mutableMatrix, accumulate: false, backend: backend)
      results.append(y.values)
    }
    for result in results.dropFirst() { #expect(largestError(results[0], result.map(Double.init)) < 1e-6) }
  }

  /// The backends that this processor has.
  private static let backends = Backend.allCases.filter { $0 != .avx512Kernels || Processor.hasAVX512 }

  /// Every edge of the kernels' blocks. AVX2: 6 rows by 16 columns in registers, 96 rows, 3072 columns and 320 of k at a
  /// time; AVX-512: 12 by 32, 96, 768 and 384.
  @Test(
    "float32 kernels agree with OpenBLAS at every edge of their blocks",
    arguments: [
      (1, 1, 1), (6, 16, 8), (7, 17, 9), (13, 33, 17), (97, 40, 385), (5, 3080, 12), (5, 790, 12), (200, 33, 700),
    ])
  func ownKernelsAgreeWithOpenBLAS(m: Int, n: Int, k: Int) {
    var random = RandomSource(seed: 5)
    let (a, b) = (
      Tensor.normal([m * k], deviation: 1, using: &random), Tensor.normal([k * n], deviation: 1, using: &random)
    )
    let start = Tensor.normal([m * n], deviation: 1, using: &random).values
    for (left, right) in [(false, false), (false, true), (true, false)] {
      let (x, w) = (operand(a.floats, m, k, transposed: left), operand(b.floats, k, n, transposed: right))
      for accumulate in [false, true] {
        let results = Self.backends.map { backend in
          let c = Tensor(start, [m, n])
          Matmul.gemm(x, w, into: c.mutableMatrix, accumulate: accumulate, backend: backend)
          return c.values
        }
        let plain = Tensor(start, [m, n])
        var gemm = eagle_gemm(
          m: Int64(m), n: Int64(n), k: Int64(k), a: x.base, a_row: Int64(x.rowStride), a_column: Int64(x.columnStride),
          b: w.base, b_row: Int64(w.rowStride), b_column: Int64(w.columnStride), c: plain.floats, ldc: Int64(n),
          accumulate: accumulate ? 1 : 0)
        eagle_gemm_plain(&gemm)
        for result in results {
          // because: float32 sums of up to 700 terms
          #expect(largestError(result, results.last!.map(Double.init)) < 2e-6)
          #expect(largestError(result, plain.values.map(Double.init)) < 4e-6)
        }
      }
    }
  }

  @Test("a matmul has the same bits on one, two and three threads")
  func aProductHasTheSameBitsOnAnyNumberOfThreads() async {
    // In a process of its own, because other tests compute meanwhile.
    await #expect(processExitsWith: .success) {
      var random = RandomSource(seed: 7)
      let x = Tensor.normal([150, 200], deviation: 1, using: &random)
      let w = Tensor.normal([330, 200], deviation: 1, using: &random)
      let results = [1, 2, 3].map { count in
        Parallel.threadCount = count
        let products = Self.backends.filter { $0 != .openBLAS }.map { backend in
          let y = Tensor([150, 330])
          Matmul.gemm(x.matrix, w.matrix.transposed, into: y.mutableMatrix, accumulate: false, backend: backend)
          return y.values
        }
        return products + [Matmul.forward(x, w, .fp32).values, Matmul.forward(x, w, .bf16).values]
      }
      #expect(results[0] == results[1] && results[0] == results[2])
    }
  }

  @Test("the bias is added to each row") func biasIsAdded() {
    let (x, w) = operands(3, 8, 5)
    let bias = Tensor([1, 2, 3, 4, 5], [5])
    for mode in [MatmulMode.gemm(.fp32), .batchInvariant(.fp32)] {
      let difference = zip(Matmul.forward(x, w, bias: bias, mode).values, Matmul.forward(x, w, mode).values)
        .map { $0 - $1 }
      for (i, value) in difference.enumerated() { #expect(abs(value - Float(i % 5 + 1)) < 1e-5) }
    }
  }
}
