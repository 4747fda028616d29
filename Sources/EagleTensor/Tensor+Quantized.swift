import CEagleKernels

// O outputs · I inputs.

extension DType {
  /// The formats that weights can be quantised to here.
  package static let quantizedFormats: [DType] = [.q8_0, .q4_0, .q5_0, .q4_K, .q6_K]

  /// The format for rows of so many elements. Those that are no whole blocks of 256 take the nearest format with blocks
  /// of 32, as llama-quantize has them; nil where they are no whole blocks of 32 either.
  package func fitting(columns: Int) -> DType? {
    if columns % blockLength == 0 { return self }
    guard columns % 32 == 0 else { return nil }
    return self == .q4_K ? .q5_0 : .q8_0
  }
}

extension Tensor {
  /// A weight [O, I] in blocks of `format`, or of what fits its rows; `self` where nothing does, or it is in blocks.
  ///
  /// - Parameter format: one of `DType.quantizedFormats`
  package func quantized(_ format: DType) -> Tensor {
    precondition(shape.count == 2, "only matrices are quantised, not \(shape)")
    guard !dtype.isBlocks, let format = format.fitting(columns: columns), let type = format.weightType else {
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
          let isDone = eagle_weights_encode(type, wide.baseAddress!, Int64(inputs), target) != 0
          precondition(isDone, "quantisation to \(format)")
        }
      }
    }
    return result
  }
}
