/// Copies of matrices with their elements in another order: elements stay as they are.
extension Rows {
  /// Every n-th row of x [R, C] from row `first` on.
  package static func every(_ n: Int, of x: Tensor, from first: Int) -> Tensor {
    let (rows, bytes) = (Array(stride(from: first, to: x.rows, by: n)), x.dtype.bytes(x.columns))
    let y = Tensor([rows.count, x.columns], dtype: x.dtype)
    for (i, row) in rows.enumerated() {
      y.bytes.advanced(by: i * bytes).copyMemory(from: x.bytes + row * bytes, byteCount: bytes)
    }
    return y
  }

  /// Columns `range` of x [R, C] float32: [R, range].
  package static func columns(_ x: Tensor, _ range: Range<Int>) -> Tensor {
    let y = Tensor([x.rows, range.count])
    Parallel.forEachRange(x.rows, grain: 64) { rows in
      for row in rows {
        (y.floats + row * range.count).update(from: x.floats + row * x.columns + range.lowerBound, count: range.count)
      }
    }
    return y
  }

  /// xᵀ [C, R] of x [R, C].
  package static func transposed(_ x: Tensor) -> Tensor {
    let y = Tensor([x.columns, x.rows], dtype: x.dtype)
    switch x.dtype.size {
    case 4: transpose(x, into: y, UInt32.self)
    case 2: transpose(x, into: y, UInt16.self)
    default: preconditionFailure("the transpose of \(x.dtype)")
    }
    return y
  }

  private static func transpose<Element>(_ x: Tensor, into y: Tensor, _: Element.Type) {
    let (rows, columns) = (x.rows, x.columns)
    let (from, to) = (x.bytes.assumingMemoryBound(to: Element.self), y.bytes.assumingMemoryBound(to: Element.self))
    Parallel.forEachRange(columns, grain: 16) { range in
      for column in range {
        for row in 0..<rows { to[column * rows + row] = from[row * columns + column] }
      }
    }
  }
}

extension Tensor {
  /// The address of the first element.
  fileprivate var bytes: UnsafeMutableRawPointer { storage.base + byteOffset }
}
