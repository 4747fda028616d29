import CEagleKernels

/// Copies of chosen rows.
package enum Rows {
  /// y[i] = x[indices[i]], as float32.
  ///
  /// - Parameters:
  ///   - x: [N, C] float32, bfloat16, float16 or blocks, for example an embedding table
  ///   - indices: each in 0..<N
  package static func gather(_ x: Tensor, _ indices: [Int32]) -> Tensor {
    let (columns, rowBytes) = (x.columns, x.dtype.bytes(x.columns))
    let y = Tensor([indices.count, columns])
    Parallel.forEachRange(indices.count, grain: 64) { range in
      for row in range {
        let source = Int(indices[row])
        precondition(source >= 0 && source < x.rows, "row \(source) of \(x.rows)")
        x.dtype.widen(x.rowBytes + source * rowBytes, columns, into: y.floats + row * columns)
      }
    }
    return y
  }
}

extension Tensor {
  /// The index of the largest value of each row; the first one of equals.
  package func argmax() -> [Int] {
    var result = [Int](repeating: 0, count: rows)
    result.withUnsafeMutableBufferPointer { result in
      let result = result
      Parallel.forEachRange(rows, grain: 1) { range in
        for row in range { result[row] = Int(eagle_argmax(floats + row * columns, Int64(columns))) }
      }
    }
    return result
  }
}

extension Rows {
  /// Rows of several float32 matrices of the same width, one matrix after the other.
  package static func joined(_ parts: [Tensor]) -> Tensor {
    precondition(Set(parts.map(\.columns)).count == 1, "rows of \(parts.map(\.columns)) columns")
    if parts.count == 1 { return parts[0] }
    let all = Tensor([parts.reduce(0) { $0 + $1.rows }, parts[0].columns])
    var row = 0
    for part in parts {
      (all.floats + row * all.columns).update(from: part.floats, count: part.rows * part.columns)
      row += part.rows
    }
    return all
  }

  /// y[i] = x[indices[i]] in the type of x; in float32 where x is in tiles and its rows are gone.
  package static func select(_ x: Tensor, _ indices: [Int32]) -> Tensor {
    for index in indices { precondition(index >= 0 && Int(index) < x.rows, "row \(index) of \(x.rows)") }
    guard x.hasRows else { return selectFromTiles(x, indices) }
    let rowBytes = x.dtype.bytes(x.columns)
    let y = Tensor([indices.count, x.columns], dtype: x.dtype)
    for (i, index) in indices.enumerated() {
      (y.rawBytes.baseAddress! + i * rowBytes)
        .copyMemory(from: x.address(ofRow: Int(index)), byteCount: rowBytes)
    }
    return y
  }

  private static func selectFromTiles(_ x: Tensor, _ indices: [Int32]) -> Tensor {
    let (y, outputs) = (Tensor([indices.count, x.columns]), BlockTiles.tileOutputs)
    let tile = Tensor([outputs, x.columns])
    for (i, index) in indices.enumerated() {
      let (first, row) = (Int(index) / outputs * outputs, Int(index) % outputs)
      x.convert(rows: first..<min(first + outputs, x.rows), into: tile)
      (y.floats + i * x.columns).update(from: tile.floats + row * x.columns, count: x.columns)
    }
    return y
  }
}
