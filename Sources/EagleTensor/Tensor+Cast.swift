import CEagleKernels

extension Tensor {
  /// The values as float32; `self` when they already are.
  package func float32() -> Tensor {
    if dtype == .float32 { return self }
    let result = Tensor(shape)
    Self.widen(self, into: result.floats)
    return result
  }

  /// The values rounded to bfloat16 (nearest, ties to even); `self` when they already are.
  package func bfloat16() -> Tensor {
    if dtype == .bfloat16 { return self }
    let source = float32()
    let result = Tensor(shape, dtype: .bfloat16)
    Parallel.forEachRange(count, grain: 1 << 16) { range in
      eagle_f32_to_bf16(source.floats + range.lowerBound, result.bfloats + range.lowerBound, Int64(range.count))
    }
    return result
  }

  /// Writes the values of a float tensor as float32 to `destination`.
  static func widen(_ source: Tensor, into destination: UnsafeMutablePointer<Float>) {
    precondition([.float32, .bfloat16, .float16].contains(source.dtype), "cannot widen \(source.dtype)")
    Parallel.forEachRange(source.count, grain: 1 << 16) { range in
      let start = source.storage.base + source.byteOffset + range.lowerBound * source.dtype.size
      let target = destination + range.lowerBound
      let n = Int64(range.count)
      switch source.dtype {
      case .bfloat16: eagle_bf16_to_f32(start.assumingMemoryBound(to: UInt16.self), target, n)
      case .float16: eagle_f16_to_f32(start.assumingMemoryBound(to: UInt16.self), target, n)
      default: target.update(from: start.assumingMemoryBound(to: Float.self), count: range.count)
      }
    }
  }
}
