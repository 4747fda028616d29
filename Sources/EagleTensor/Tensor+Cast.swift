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
    let result = Tensor(shape, dtype: .bfloat16)
    convert(into: result)
    return result
  }

  /// Writes the values to the first elements of `target`, float32 or bfloat16.
  func convert(into target: Tensor) {
    guard target.dtype == .bfloat16 else { return Self.widen(self, into: target.floats) }
    let block = dtype.blockLength
    Parallel.forEachRange(count / block, grain: Self.castElements / block) { range in
      // A block at a time: what is widened stays in the cache.
      withUnsafeTemporaryAllocation(of: Float.self, capacity: Self.castElements) { wide in
        for first in stride(from: range.lowerBound * block, to: range.upperBound * block, by: Self.castElements) {
          let n = min(Self.castElements, range.upperBound * block - first)
          dtype.widen(storage.base + byteOffset + dtype.bytes(first), n, into: wide.baseAddress!)
          eagle_f32_to_bf16(wide.baseAddress!, target.bfloats + first, Int64(n))
        }
      }
    }
  }

  /// Elements that are converted at a time: whole blocks.
  private static let castElements = 4096

  /// Writes the values of a float tensor, or of one in blocks, as float32 to `destination`.
  static func widen(_ source: Tensor, into destination: UnsafeMutablePointer<Float>) {
    let block = source.dtype.blockLength
    Parallel.forEachRange(source.count / block, grain: (1 << 16) / block) { range in
      let elements = range.lowerBound * block..<range.upperBound * block
      source.dtype.widen(
        source.storage.base + source.byteOffset + source.dtype.bytes(elements.lowerBound), elements.count,
        into: destination + elements.lowerBound)
    }
  }
}

extension DType {
  /// Writes elements of this type, whole blocks at `source`, as float32.
  package func widen(_ source: UnsafeRawPointer, _ elements: Int, into target: UnsafeMutablePointer<Float>) {
    guard let type = weightType else { preconditionFailure("cannot widen \(self)") }
    eagle_weights_decode(type, source, Int64(elements), target)
  }
}
