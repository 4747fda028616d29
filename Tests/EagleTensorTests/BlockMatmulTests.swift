import CEagleKernels
import EagleTensor
import Testing

/// GEMMs with weights in blocks.
@Suite struct BlockMatmulTests {
  /// [O, I] of random blocks, whose scales are about 0.01: every bit pattern of the elements occurs.
  private func blocks(_ format: DType, _ outputs: Int, _ inputs: Int) -> Tensor {
    var random = RandomSource(seed: 6)
    let w = Tensor([outputs, inputs], dtype: format)
    for i in 0..<w.byteCount { w.rawBytes[i] = UInt8.random(in: 0...255, using: &random) }
    for block in 0..<w.count / format.blockLength {
      let start = block * format.blockBytes
      func put(_ value: Float, at offset: Int) {
        withUnsafeBytes(of: Float16(value).bitPattern) { bits in
          for i in 0..<2 { w.rawBytes[start + offset + i] = bits[i] }
        }
      }
      let scale = Float.random(in: -0.02...0.02, using: &random)
      switch format {
      case .mxfp4: w.rawBytes[start] = UInt8.random(in: 118...126, using: &random)
      case .q6_K: put(scale, at: 208)
      default: put(scale, at: 0)
      }
      if [.q4_1, .q5_1, .q4_K, .q5_K].contains(format) { put(Float.random(in: 0...0.1, using: &random), at: 2) }
    }
    return w
  }

  /// [R, I], with some elements far larger than the others.
  private func activations(_ rows: Int, _ inputs: Int) -> Tensor {
    var random = RandomSource(seed: 7)
    let x = Tensor.normal([rows, inputs], deviation: 1, using: &random)
    for i in stride(from: 5, to: x.count, by: 211) { x.floats[i] *= 30 }
    return x
  }

  /// The product of the dequantised weights in float64.
  private func reference(_ x: Tensor, _ w: Tensor) -> [Double] {
    let wide = w.float32().values.map(Double.init)
    let (rows, k) = (x.values.map(Double.init), x.columns)
    return (0..<x.rows * w.rows).map { index in
      let (m, n) = index.quotientAndRemainder(dividingBy: w.rows)
      return (0..<k).reduce(0) { $0 + rows[m * k + $1] * wide[n * k + $1] }
    }
  }

  /// The norm of the difference over the norm.
  private func relativeError(_ y: [Float], _ expected: [Double]) -> Double {
    let difference = zip(y, expected).reduce(0) { $0 + (Double($1.0) - $1.1) * (Double($1.0) - $1.1) }
    return (difference / expected.reduce(0) { $0 + $1 * $1 }).squareRoot()
  }

  @Test(
    "activations in 8 bits change a product by about a hundredth, weights in blocks by nothing",
    arguments: DType.blockFormats)
  func productsAreClose(_ format: DType) {
    for inputs in [256, 512] + (format.blockLength == 32 ? [32, 96, 320] : []) {
      let (x, w) = (activations(11, inputs), blocks(format, 13, inputs))
      let expected = reference(x, w)
      // because: sums of up to 512 terms in float32, first with the rows and then with the tiles
      for _ in 0..<2 {
        #expect(relativeError(Matmul.forward(x, w, .batchInvariant(.fp32)).values, expected) < 1e-6)
        #expect(relativeError(Matmul.forward(x, w, .gemm(.fp32)).values, expected) < 1e-6)
        let wide = Matmul.forward(x, w.float32(), .gemm(.bf16)).values
        #expect(relativeError(Matmul.forward(x, w, .gemm(.bf16)).values, wide.map(Double.init)) < 1e-6)
        // because: an element is off by 1/508 of the largest of 32 on average, up to 30 times the typical one here
        let error = relativeError(Matmul.forward(x, w, .batchInvariant(.bf16)).values, expected)
        #expect(error > 1e-4 && error < 0.02, "\(inputs) inputs")
      }
    }
  }

  /// The digests were the same with AVX-512, with AVX2 and without either (FNV-1a of 64 bits).
  @Test(
    "weights are quantised to the same blocks on every processor",
    arguments: [
      (DType.q8_0, 0x9dcb_6be6_ba94_2596), (.q4_0, 0x7963_7fe6_3a64_8876), (.q5_0, 0x8ade_d327_b77b_55e1),
      (.q4_K, 0x2419_3dbc_74bb_f41d), (.q6_K, 0x37a2_c5e5_f31c_bcdf),
    ] as [(DType, UInt64)])
  func blocksOfEveryProcessor(_ format: DType, _ expected: UInt64) {
    var state: UInt32 = 1
    let values = (0..<4096).map { _ in
      state = state &* 1_664_525 &+ 1_013_904_223
      return Float(Int32(bitPattern: state) >> 8) * 0x1p-26
    }
    let blocks = Tensor([16, 256], dtype: format)
    #expect(eagle_weights_encode(format.weightType!, values, 4096, blocks.rawBytes.baseAddress!) == 1)
    let digest = blocks.rawBytes.reduce(UInt64(0xcbf2_9ce4_8422_2325)) { ($0 ^ UInt64($1)) &* 1_099_511_628_211 }
    #expect(digest == expected)
  }

  @Test("a row's bits depend neither on the other rows nor on the variant", arguments: DType.blockFormats)
  func rowsAreIndependentInEveryVariant(_ format: DType) {
    for inputs in format.blockLength == 32 ? [32, 288, 576] : [256, 768] {
      // Of two equal matrices, one keeps its layout of rows.
      let (most, w, multiplied) = (37, blocks(format, 23, inputs), blocks(format, 23, inputs))
      let x = activations(most, inputs)
      let bias = Tensor((0..<w.rows).map { Float($0) / 3 }, [w.rows])
      let expected = (0..<most).flatMap { plainProducts(x.slice($0..<$0 + 1), w, bias) }
      for rows in [1, 2, 3, 4, 5, 7, 8, 9, 32, 33, most] {
        let part = x.slice(0..<rows)
        for variant in Processor.hasAVX2 ? [EAGLE_TILES_AVX2, EAGLE_TILES_BEST] : [] {
          #expect(tileProducts(part, w, bias, variant).elementsEqual(expected.prefix(rows * w.rows)), "\(rows) rows")
        }
        let y = Matmul.forward(part, multiplied, bias: bias, .batchInvariant(.bf16)).values
        #expect(y.elementsEqual(expected.prefix(rows * w.rows)))
      }
    }
  }

  private func plainProducts(_ x: Tensor, _ w: Tensor, _ bias: Tensor) -> [Float] {
    products(x, w, bias, w.copiedRows, eagle_small_matmul_blocks)
  }

  private func tileProducts(_ x: Tensor, _ w: Tensor, _ bias: Tensor, _ variant: eagle_tile_variant) -> [Float] {
    let (rows, k, type) = (w.copiedRows, w.columns, w.dtype.weightType!)
    let (rowBytes, tileBytes) = (w.dtype.bytes(k), Int(eagle_tile_bytes(type, Int64(k))))
    var tiles = [UInt8](repeating: 0, count: (w.rows + 7) / 8 * tileBytes)
    for first in stride(from: 0, to: w.rows, by: 8) {
      rows.withUnsafeBytes { rows in
        tiles.withUnsafeMutableBytes { tiles in
          eagle_tile_pack(
            type, rows.baseAddress! + first * rowBytes, Int64(min(8, w.rows - first)), Int64(k),
            tiles.baseAddress! + first / 8 * tileBytes)
        }
      }
    }
    return products(x, w, bias, tiles) { eagle_small_matmul_tiles(variant, $0, $1, $2) }
  }

  /// All outputs in two parts, as different threads would compute them.
  private func products(
    _ x: Tensor, _ w: Tensor, _ bias: Tensor, _ weights: [UInt8],
    _ kernel: (UnsafePointer<eagle_small_matmul>, Int64, Int64) -> Void
  ) -> [Float] {
    let (rows, k) = (Int64(x.rows), Int64(x.columns))
    var quantized = [UInt8](repeating: 0, count: Int(eagle_quantized_bytes(rows, k)))
    for m in 0..<rows { eagle_quantize_row(x.floats + Int(m * k), k, rows, m, &quantized) }
    let y = Tensor([x.rows, w.rows])
    return quantized.withUnsafeBytes { quantized in
      weights.withUnsafeBytes { weights in
        var a = eagle_small_matmul()
        (a.x, a.w, a.type) = (quantized.baseAddress, weights.baseAddress, w.dtype.weightType!)
        (a.bias, a.y, a.y_stride) = (UnsafePointer(bias.floats), y.floats, Int64(w.rows))
        (a.rows, a.k, a.outputs) = (rows, k, Int64(w.rows))
        for range in [0..<5, 5..<w.rows] { kernel(&a, Int64(range.lowerBound), Int64(range.upperBound)) }
        return y.values
      }
    }
  }

  @Test("a NaN or an infinity among the activations shows in the results of its row alone")
  func nonFiniteActivationsShow() {
    let w = blocks(.q4_K, 5, 512)
    for odd in [Float.nan, .infinity, -.infinity] {
      let x = activations(3, 512)
      x.floats[512 + 300] = odd
      let y = Matmul.forward(x, w, .batchInvariant(.bf16)).values
      #expect(y[5..<10].allSatisfy { $0.isNaN })
      #expect((y[0..<5] + y[10...]).allSatisfy { $0.isFinite })
    }
  }

  @Test("rows of zeros and of tiny numbers give finite results")
  func tinyActivationsAreTaken() {
    let w = blocks(.q8_0, 5, 64)
    for value in [Float(0), .leastNonzeroMagnitude, -3e-31] {
      let y = Matmul.forward(.filled([1, 64], with: value), w, .batchInvariant(.bf16)).values
      #expect(y.allSatisfy { $0.isFinite && abs($0) < 1e-28 })
    }
  }

  @Test(
    "quantised weights are as close as their bits allow",
    arguments: [(DType.q8_0, 0.006), (.q6_K, 0.02), (.q5_0, 0.045), (.q4_K, 0.075), (.q4_0, 0.095)])
  func quantisedWeightsAreClose(_ format: DType, _ allowed: Double) {
    var random = RandomSource(seed: 8)
    let w = Tensor.normal([64, 512], deviation: 0.02, using: &random)
    let error = relativeError(w.quantized(format).float32().values, w.values.map(Double.init))
    #expect(error < allowed && error > allowed / 3, "\(error)")
    #expect(w.quantized(format).dtype == format)
    let zeros = Tensor.zeros([2, 512]).quantized(format)
    #expect(zeros.float32().values.allSatisfy { $0 == 0 })
    // A matrix that is already in blocks stays unchanged.
    #expect(w.quantized(.q8_0).quantized(format).dtype == .q8_0)
  }

  @Test("rows that are no whole blocks of 256 take a format with blocks of 32, others stay")
  func rowsWithoutWholeBlocksTakeAnotherFormat() {
    let formats = [DType.q4_K, .q6_K, .q4_0].map { format in
      [512, 576, 40].map { Tensor.zeros([1, $0]).quantized(format).dtype }
    }
    #expect(formats == [[.q4_K, .q5_0, .float32], [.q6_K, .q8_0, .float32], [.q4_0, .q4_0, .float32]])
  }

  @Test("rows of blocks are gathered and sliced")
  func rowsAreGathered() {
    let w = blocks(.q5_K, 7, 512)
    let wide = w.float32()
    #expect(Rows.gather(w, [6, 0, 3]).values == Rows.gather(wide, [6, 0, 3]).values)
    #expect(w.slice(2..<5).float32().values == wide.slice(2..<5).values)
    #expect(Rows.select(w, [4, 1]).float32().values == Rows.gather(wide, [4, 1]).values)
  }
}

extension Tensor {
  /// The bytes of the rows as stored.
  fileprivate var copiedRows: [UInt8] { Array(rawBytes) }
}
