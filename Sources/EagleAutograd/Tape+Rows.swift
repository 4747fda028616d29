import CEagleKernels
import EagleTensor

extension Tape {
  /// forward: y[r] = (a[r], b[r]), the columns of b after those of a   so   da += dy[.., 0..<A],  db += dy[.., A...]
  public func concatenate(_ a: Variable, _ b: Variable) -> Variable {
    let (left, right, rows) = (a.value.columns, b.value.columns, a.value.rows)
    precondition(b.value.rows == rows, "concatenation of \(a.shape) and \(b.shape)")
    let y = Tensor([rows, left + right])
    Parallel.forEachRange(rows, grain: 64) { range in
      for row in range {
        let target = y.floats + row * (left + right)
        target.update(from: a.value.floats + row * left, count: left)
        (target + left).update(from: b.value.floats + row * right, count: right)
      }
    }
    return result(y, of: [a, b]) { dy in
      a.gradientToAccumulate().map { Self.accumulateColumns(of: dy, from: 0, into: $0) }
      b.gradientToAccumulate().map { Self.accumulateColumns(of: dy, from: left, into: $0) }
    }
  }

  private static func accumulateColumns(of dy: Tensor, from column: Int, into dx: Tensor) {
    let width = dx.columns
    Parallel.forEachRange(dy.rows, grain: 64) { range in
      for row in range {
        eagle_accumulate(dy.floats + row * dy.columns + column, dx.floats + row * width, Int64(width))
      }
    }
  }

  /// forward: y[i] = x[indices[i]]   so   dx[indices[i]] += dy[i]. The indices are distinct.
  public func gather(_ x: Variable, _ indices: [Int32]) -> Variable {
    result(Rows.gather(x.value, indices), of: [x]) { dy in
      guard let dx = x.gradientToAccumulate() else { return }
      let width = dx.columns
      Parallel.forEachRange(indices.count, grain: 64) { range in
        for row in range {
          eagle_accumulate(dy.floats + row * width, dx.floats + Int(indices[row]) * width, Int64(width))
        }
      }
    }
  }
}
