import CEagleKernels

/// Root-mean-square norm: y[i] = x[i] · r · w[i], r = 1 / √(mean(x²) + ε). In float32.
package enum RMSNorm {
  /// - Parameters:
  ///   - x: [R, C]
  ///   - w: [C]
  ///   - epsilon: ε
  ///   - y: [R, at least C]
  ///   - column: the column of `y` at which the result starts, so that two norms can fill one row
  ///   - scales: receives r of each row, [R]
  package static func apply(
    _ x: Tensor, _ w: Tensor, epsilon: Float, into y: Tensor, column: Int = 0, scales: Tensor? = nil
  ) {
    precondition(
      w.count == x.columns && y.rows == x.rows && column + x.columns <= y.columns, "norm \(x.shape) \(w.shape)")
    let width = Int64(x.columns)
    Parallel.forEachRange(x.rows, grain: 32) { range in
      let first = range.lowerBound
      eagle_rms_norm(
        x.floats + first * x.columns, width, w.floats, epsilon, y.floats + first * y.columns + column,
        Int64(y.columns), scales.map { $0.floats + first }, Int64(range.count), width)
    }
  }

  /// y = x / sqrt(mean(x^2) + epsilon) * w for each row of x [R, H], float32.
  package static func apply(_ x: Tensor, _ w: Tensor, epsilon: Float) -> Tensor {
    let y = Tensor(x.shape)
    apply(x, w, epsilon: epsilon, into: y)
    return y
  }

  /// Norms `rows` dense rows of as many elements as w [C] in place, on the calling thread.
  package static func apply(inPlace x: UnsafeMutablePointer<Float>, rows: Int, _ w: Tensor, epsilon: Float) {
    let width = Int64(w.count)
    eagle_rms_norm(x, width, w.floats, epsilon, x, width, nil, Int64(rows), width)
  }
}
