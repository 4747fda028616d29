import CEagleKernels

extension Tensor {
  /// The values as float32; `self` when they already are.
  package func float32() -> Tensor {
    if dtype == .float32 { return self }
    let result = Tensor(shape)
    convert(into: result)
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
  func convert(into target: Tensor) { convert(rows: 0..<rows, into: target) }

  /// The same of some rows, from a multiple of eight on.
  func convert(rows: Range<Int>, into target: Tensor) {
    let made = tiles?.address
    // A few rows at a time: what is widened stays in the cache.
    let step = BlockTiles.tileOutputs * max(1, Self.castElements / (BlockTiles.tileOutputs * max(1, columns)))
    Parallel.forEachRange((rows.count + step - 1) / step, grain: 1) { range in
      withUnsafeTemporaryAllocation(of: Float.self, capacity: target.dtype == .bfloat16 ? step * columns : 1) {
        scratch in
        for index in range {
          let first = rows.lowerBound + index * step
          let part = first..<min(rows.upperBound, first + step)
          let (offset, count) = (index * step * columns, part.count * columns)
          let wide = target.dtype == .bfloat16 ? scratch.baseAddress! : target.floats + offset
          if let made {
            BlockTiles.widen(made, of: self, part, into: wide)
          } else {
            dtype.widen(rowBytes + dtype.bytes(first * columns), count, into: wide)
          }
          if target.dtype == .bfloat16 { eagle_f32_to_bf16(wide, target.bfloats + offset, Int64(count)) }
        }
      }
    }
  }

  /// Elements that are converted at a time.
  private static let castElements = 16384

  /// The address of a row, as stored.
  package func address(ofRow row: Int) -> UnsafeRawPointer {
    UnsafeRawPointer(rowBytes) + row * dtype.bytes(columns)
  }

  /// The address of the first row, as stored.
  var rowBytes: UnsafeMutableRawPointer {
    precondition(hasRows, "the rows of a matrix that is in tiles")
    return storage.base + byteOffset
  }

  /// Whether the rows of a matrix in blocks are still there.
  var hasRows: Bool { storage.isReadOnly || tiles?.address == nil }

  /// Returns the memory of the rows to the system, once a matrix is in tiles.
  func releaseRows() { storage.releasePages(byteOffset..<byteOffset + byteCount) }
}

extension DType {
  /// Writes elements of this type, whole blocks at `source`, as float32.
  package func widen(_ source: UnsafeRawPointer, _ elements: Int, into target: UnsafeMutablePointer<Float>) {
    guard let type = weightType else { preconditionFailure("cannot widen \(self)") }
    eagle_weights_decode(type, source, Int64(elements), target)
  }
}
