import EagleTensor

// Blocks of quantised weights to float32, after the layouts of ggml's quantisation formats:
// d is a block's scale and m its minimum, both float16; q are small integers, low nibbles first.

extension GGMLType {
  /// Decodes `blocks` whole blocks from `source` to `blocks * blockLength` values.
  func decode(_ source: UnsafePointer<UInt8>, blocks: Int, to values: UnsafeMutablePointer<Float>) {
    switch self {
    case .f32: Self.each(blocks, source, 4, values, 1) { $1[0] = Float(bitPattern: $0.word32(0)) }
    case .f16: Self.each(blocks, source, 2, values, 1) { $1[0] = $0.half(0) }
    case .bf16: Self.each(blocks, source, 2, values, 1) { $1[0] = BFloat16.widen($0.word16(0)) }
    case .q4_0: Self.each(blocks, source, blockByteCount, values, 32, Self.q4_0)
    case .q4_1: Self.each(blocks, source, blockByteCount, values, 32, Self.q4_1)
    case .q5_0: Self.each(blocks, source, blockByteCount, values, 32, Self.q5_0)
    case .q5_1: Self.each(blocks, source, blockByteCount, values, 32, Self.q5_1)
    case .q8_0: Self.each(blocks, source, blockByteCount, values, 32, Self.q8_0)
    case .q4_K: Self.each(blocks, source, blockByteCount, values, 256, Self.q4_K)
    case .q5_K: Self.each(blocks, source, blockByteCount, values, 256, Self.q5_K)
    case .q6_K: Self.each(blocks, source, blockByteCount, values, 256, Self.q6_K)
    case .mxfp4: Self.each(blocks, source, blockByteCount, values, 32, Self.mxfp4)
    }
  }

  private typealias Block = UnsafePointer<UInt8>
  private typealias Values = UnsafeMutablePointer<Float>

  @inline(__always)
  private static func each(
    _ blocks: Int, _ source: Block, _ stride: Int, _ values: Values, _ length: Int, _ body: (Block, Values) -> Void
  ) {
    for block in 0..<blocks { body(source + block * stride, values + block * length) }
  }

  /// y = d (q - 8): d, 16 bytes of nibbles; low nibbles are weights 0..15, high ones 16..31.
  private static func q4_0(_ block: Block, _ y: Values) {
    let d = block.half(0)
    for i in 0..<16 {
      y[i] = d * Float(Int32(block[2 + i] & 15) - 8)
      y[16 + i] = d * Float(Int32(block[2 + i] >> 4) - 8)
    }
  }

  /// y = 2^(e - 128) v(q): the byte e, then nibbles as in `q4_0`.
  private static func mxfp4(_ block: Block, _ y: Values) {
    let scale = Float(sign: .plus, exponent: Int(block[0]) - 128, significand: 1)
    for i in 0..<16 {
      y[i] = scale * fourBitFloats[Int(block[1 + i] & 15)]
      y[16 + i] = scale * fourBitFloats[Int(block[1 + i] >> 4)]
    }
  }

  /// Twice the values of four-bit floats: a sign, two bits of exponent and one of mantissa.
  private static let fourBitFloats: [Float] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12]

  /// y = d q + m.
  private static func q4_1(_ block: Block, _ y: Values) {
    let d = block.half(0)
    let m = block.half(2)
    for i in 0..<16 {
      y[i] = d * Float(block[4 + i] & 15) + m
      y[16 + i] = d * Float(block[4 + i] >> 4) + m
    }
  }

  /// y = d (q - 16): bit i of the 32-bit word after d is the fifth bit of weight i.
  private static func q5_0(_ block: Block, _ y: Values) {
    let d = block.half(0)
    let high = block.word32(2)
    for i in 0..<16 {
      let low = UInt32(block[6 + i])
      y[i] = d * Float(Int32(low & 15 | (high >> UInt32(i) & 1) << 4) - 16)
      y[16 + i] = d * Float(Int32(low >> 4 | (high >> UInt32(16 + i) & 1) << 4) - 16)
    }
  }

  /// y = d q + m, fifth bits as in q5_0.
  private static func q5_1(_ block: Block, _ y: Values) {
    let d = block.half(0)
    let m = block.half(2)
    let high = block.word32(4)
    for i in 0..<16 {
      let low = UInt32(block[8 + i])
      y[i] = d * Float(low & 15 | (high >> UInt32(i) & 1) << 4) + m
      y[16 + i] = d * Float(low >> 4 | (high >> UInt32(16 + i) & 1) << 4) + m
    }
  }

  /// y = d q with signed bytes.
  private static func q8_0(_ block: Block, _ y: Values) {
    let d = block.half(0)
    for i in 0..<32 { y[i] = d * Float(Int8(bitPattern: block[2 + i])) }
  }

  /// Eight groups of 32: y = (d s) q - (dmin t), s and t of 6 bits; 32 bytes hold two groups' nibbles.
  private static func q4_K(_ block: Block, _ y: Values) {
    for group in 0..<8 {
      let (scale, minimum) = block.groupScale(group)
      let q = block + 16 + group / 2 * 32
      let shift = UInt8(group % 2 * 4)
      for i in 0..<32 { y[group * 32 + i] = scale * Float(q[i] >> shift & 15) - minimum }
    }
  }

  /// q4_K with a fifth bit: bit `group` of byte i of the 32 bytes after the scales is the fifth bit of the group's
  /// weight i.
  private static func q5_K(_ block: Block, _ y: Values) {
    let high = block + 16
    for group in 0..<8 {
      let (scale, minimum) = block.groupScale(group)
      let q = block + 48 + group / 2 * 32
      let shift = UInt8(group % 2 * 4)
      for i in 0..<32 {
        let value = q[i] >> shift & 15 | (high[i] >> UInt8(group) & 1) << 4
        y[group * 32 + i] = scale * Float(value) - minimum
      }
    }
  }

  /// Sixteen groups of 16 with signed 8-bit scales: y = (d s) (q - 32), 4 low bits and 2 high bits apart, d at the
  /// end.
  private static func q6_K(_ block: Block, _ y: Values) {
    let d = block.half(208)
    for half in 0..<2 {
      let low = block + half * 64
      let high = block + 128 + half * 32
      let scales = block + 192 + half * 8
      for part in 0..<4 {
        let lowShift = UInt8(part / 2 * 4)
        let nibbles = low + part % 2 * 32
        for i in 0..<32 {
          let q = nibbles[i] >> lowShift & 15 | (high[i] >> UInt8(part * 2) & 3) << 4
          let scale = d * Float(Int8(bitPattern: scales[part * 2 + i / 16]))
          y[half * 128 + part * 32 + i] = scale * Float(Int32(q) - 32)
        }
      }
    }
  }
}

extension UnsafePointer<UInt8> {
  @inline(__always)
  fileprivate func word16(_ offset: Int) -> UInt16 {
    UInt16(self[offset]) | UInt16(self[offset + 1]) << 8
  }

  @inline(__always)
  fileprivate func word32(_ offset: Int) -> UInt32 {
    UInt32(word16(offset)) | UInt32(word16(offset + 2)) << 16
  }

  @inline(__always)
  fileprivate func half(_ offset: Int) -> Float {
    Float(Float16(bitPattern: word16(offset)))
  }

  /// Scale and minimum of a group of a K block: d and dmin times the 6-bit numbers packed in bytes 4..15.
  ///
  /// Groups 0..3 have theirs in the low 6 bits of bytes j and j + 4; groups 4..7 have 4 bits in byte j + 8 and 2
  /// bits on top of the bytes of group j - 4.
  @inline(__always)
  fileprivate func groupScale(_ group: Int) -> (scale: Float, minimum: Float) {
    let packed = self + 4
    let scale: UInt8
    let minimum: UInt8
    if group < 4 {
      scale = packed[group] & 63
      minimum = packed[group + 4] & 63
    } else {
      scale = packed[group + 4] & 15 | (packed[group - 4] >> 6) << 4
      minimum = packed[group + 4] >> 4 | (packed[group] >> 6) << 4
    }
    return (half(0) * Float(scale), half(2) * Float(minimum))
  }
}
