import EagleTensor

extension NonFinite {
  /// Counts in whole blocks of a quantised format. An element is non-finite when its value is, or when its scale is
  /// NaN.
  package init(inBlocks bytes: UnsafeRawBufferPointer, dtype: DType) {
    self.init()
    let (size, length, scales) = (dtype.blockBytes, dtype.blockLength, BlockScales(of: dtype))
    precondition(bytes.count % size == 0, "\(bytes.count) bytes of \(dtype)")
    guard let base = bytes.baseAddress else { return }
    for block in 0..<bytes.count / size where scales.mayBeNonFinite(base + block * size) {
      add(Self.values(of: base + block * size, dtype, scales), at: block * length)
    }
  }

  private static func values(of block: UnsafeRawPointer, _ dtype: DType, _ scales: BlockScales) -> NonFinite {
    withUnsafeTemporaryAllocation(of: Float.self, capacity: dtype.blockLength) { values in
      if scales.isNaN(block) {
        values.initialize(repeating: .nan)
      } else {
        dtype.widen(block, values.count, into: values.baseAddress!)
      }
      return NonFinite(in: UnsafeRawBufferPointer(values), dtype: .float32)
    }
  }
}

/// The position in a block of the scales that can be non-finite: float16, or the exponent byte of MXFP4. All other
/// scales are integers.
private struct BlockScales {
  /// Bytes from the start of the block to a float16; the same twice where there is one.
  private let first, second: Int
  private let isExponent: Bool

  init(of dtype: DType) {
    isExponent = dtype == .mxfp4
    switch dtype {
    case .q4_1, .q5_1, .q4_K, .q5_K: (first, second) = (0, 2)
    case .q6_K: (first, second) = (dtype.blockBytes - 2, dtype.blockBytes - 2)
    default: (first, second) = (0, 0)
    }
  }

  /// Whether any element can be non-finite. An exponent byte e means 2^(e - 127), and elements are up to 6 times that.
  func mayBeNonFinite(_ block: UnsafeRawPointer) -> Bool {
    if isExponent { return block.load(as: UInt8.self) >= 253 }
    return isNonFinite(block + first) || isNonFinite(block + second)
  }

  /// Whether the scale is MXFP4's NaN.
  func isNaN(_ block: UnsafeRawPointer) -> Bool { isExponent && block.load(as: UInt8.self) == 255 }

  private func isNonFinite(_ half: UnsafeRawPointer) -> Bool {
    UInt16(littleEndian: half.loadUnaligned(as: UInt16.self)) & 0x7c00 == 0x7c00
  }
}
