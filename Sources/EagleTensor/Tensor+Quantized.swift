import CEagleKernels

// O outputs · I inputs.

extension DType {
  /// The formats that weights can be quantised to here.
  package static let quantizedFormats: [DType] = [.q8_0, .q4_0, .q5_0, .q4_K, .q6_K]

  /// The format for rows of this many elements. Rows that are no whole blocks of 256 take the nearest format with
  /// blocks of 32, as in llama-quantize; nil where they are no whole blocks of 32 either.
  package func fitting(columns: Int) -> DType? {
    if columns % blockLength == 0 { return self }
    guard columns % 32 == 0 else { return nil }
    return self == .q4_K ? .q5_0 : .q8_0
  }
}

extension DType {
  /// Rounds `count` floats, whole blocks, to float32, bfloat16 or one of `quantizedFormats`.
  package func round(_ x: UnsafePointer<Float>, count: Int, into y: UnsafeMutableRawPointer) {
    switch self {
    case .float32: y.copyMemory(from: x, byteCount: bytes(count))
    case .bfloat16: eagle_f32_to_bf16(x, y.assumingMemoryBound(to: UInt16.self), Int64(count))
    default:
      let isDone = weightType.map { eagle_weights_encode($0, x, Int64(count), y) != 0 } ?? false
      precondition(isDone, "rounding to \(self)")
    }
  }
}

extension Tensor {
  /// A weight [O, I] in blocks of `format`, or of what fits its rows; `self` where nothing does, or it is in blocks.
  ///
  /// - Parameter format: one of `DType.quantizedFormats`
  package func quantized(_ format: DType) -> Tensor {
    precondition(shape.count == 2, "only matrices are quantised, not \(shape)")
    guard !dtype.isBlocks, let format = format.fitting(columns: columns) else {
      return self
    }
    let result = Tensor(shape, dtype: format)
    let (inputs, stored) = (columns, dtype)
    let (targetBytes, sourceBytes) = (format.bytes(inputs), dtype.bytes(inputs))
    Parallel.forEachRange(rows, grain: 4, dynamic: true) { range in
      withUnsafeTemporaryAllocation(of: Float.self, capacity: inputs) { wide in
        for row in range {
          stored.widen(rowBytes + row * sourceBytes, inputs, into: wide.baseAddress!)
          let target = result.rawBytes.baseAddress! + row * targetBytes
          format.round(wide.baseAddress!, count: inputs, into: target)
        }
      }
    }
    return result
  }
}
