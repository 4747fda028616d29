import CEagleKernels
import EagleTensor

extension Tape {
  /// forward: y[i] = x[i] · r · w[i], r = 1 / √(mean(x²) + ε)
  /// backward: dx[i] += r w[i] dy[i] − x[i] r³/C · Σ_j dy[j] w[j] x[j],  dw[i] += dy[i] x[i] r
  package func rmsNorm(_ x: Variable, _ w: Variable, epsilon: Float) -> Variable {
    sideBySideNorms([(x, w)], epsilon: epsilon)
  }

  /// forward: y[r] = (norm(x₀[r], w₀), norm(x₁[r], w₁), …), one norm's columns after the other's. Each has the
  /// gradients of `rmsNorm` for its own columns of dy.
  package func sideBySideNorms(_ parts: [(x: Variable, w: Variable)], epsilon: Float) -> Variable {
    let norms = Norm.list(parts)
    let y = Tensor([parts[0].x.value.rows, norms.reduce(0) { $0 + $1.x.value.columns }])
    for norm in norms {
      RMSNorm.apply(norm.x.value, norm.w.value, epsilon: epsilon, into: y, column: norm.column, scales: norm.scales)
    }
    return result(y, of: parts.flatMap { [$0.x, $0.w] }) { dy in
      for norm in norms {
        norm.addInputGradient(dy)
        norm.addWeightGradient(dy)
      }
    }
  }
}

extension Tape {
  /// forward: the d elements of each head normed as in `rmsNorm`, with w [d], of x [R, heads · d].
  package func headNorm(_ x: Variable, _ w: Variable, epsilon: Float) -> Variable {
    let d = w.value.count
    precondition(x.value.columns % d == 0, "norm of heads of \(d) in rows of \(x.value.columns)")
    return reshaped(rmsNorm(reshaped(x, [x.value.count / d, d]), w, epsilon: epsilon), x.shape)
  }

  /// forward: the same elements in another shape   so   dx += dy
  private func reshaped(_ x: Variable, _ shape: [Int]) -> Variable {
    result(x.value.reshaped(shape), of: [x]) { x.addGradient(giving: $0) }
  }
}

/// One norm whose result fills some columns of each row.
private struct Norm {
  let x, w: Variable
  let column: Int
  /// r of each row.
  let scales: Tensor

  static func list(_ parts: [(x: Variable, w: Variable)]) -> [Norm] {
    var column = 0
    return parts.map { x, w in
      defer { column += x.value.columns }
      return Norm(x: x, w: w, column: column, scales: Tensor([x.value.rows]))
    }
  }

  func addInputGradient(_ dy: Tensor) {
    let width = x.value.columns
    x.addGradient { dx, accumulate in
      Parallel.forEachRange(dy.rows, grain: 16) { range in
        var norm = arguments(dy, row: range.lowerBound, rows: range.count, column: 0, columns: width)
        eagle_rms_norm_input_gradient(
          &norm, w.value.floats, dx.floats + range.lowerBound * width, accumulate ? 1 : 0)
      }
    }
  }

  /// Each thread has columns of its own and adds up the rows in their order.
  func addWeightGradient(_ dy: Tensor) {
    let width = x.value.columns
    w.addGradient { dw, accumulate in
      if !accumulate { dw.clear() }
      Parallel.forEachRange(width, grain: 64) { range in
        var norm = arguments(dy, row: 0, rows: dy.rows, column: range.lowerBound, columns: range.count)
        eagle_rms_norm_weight_gradient(&norm, dw.floats + range.lowerBound)
      }
    }
  }

  /// Some rows and columns of dy, x and r.
  private func arguments(
    _ dy: Tensor, row: Int, rows: Int, column first: Int, columns: Int
  ) -> eagle_rms_norm_backward {
    let width = x.value.columns
    return eagle_rms_norm_backward(
      dy: dy.floats + row * dy.columns + column + first, dy_stride: Int64(dy.columns),
      x: x.value.floats + row * width + first, x_stride: Int64(width), r: scales.floats + row, rows: Int64(rows),
      columns: Int64(columns))
  }
}
