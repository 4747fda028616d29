import CEagleKernels
import EagleTensor

extension Tape {
  /// forward: y[i] = x[i] · r · w[i], r = 1 / √(mean(x²) + ε)
  /// backward: dx[i] += r w[i] dy[i] − x[i] r³/C · Σ_j dy[j] w[j] x[j],  dw[i] += dy[i] x[i] r
  public func rmsNorm(_ x: Variable, _ w: Variable, epsilon: Float) -> Variable {
    sideBySideNorms([(x, w)], epsilon: epsilon)
  }

  /// forward: y[r] = (norm(x₀[r], w₀), norm(x₁[r], w₁), …), one norm's columns after the other's. Each has the gradients of
  /// `rmsNorm` for its own columns of dy.
  public func sideBySideNorms(_ parts: [(x: Variable, w: Variable)], epsilon: Float) -> Variable {
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
        let first = range.lowerBound
        eagle_rms_norm_input_gradient(
          dy.floats + first * dy.columns + column, Int64(dy.columns), x.value.floats + first * width, w.value.floats,
          scales.floats + first, dx.floats + first * width, accumulate ? 1 : 0, Int64(range.count), Int64(width))
      }
    }
  }

  /// Each thread has columns of its own and adds up the rows in their order.
  func addWeightGradient(_ dy: Tensor) {
    let width = x.value.columns
    w.addGradient { dw, accumulate in
      if !accumulate { dw.clear() }
      Parallel.forEachRange(width, grain: 64) { range in
        let first = range.lowerBound
        eagle_rms_norm_weight_gradient(
          dy.floats + column + first, Int64(dy.columns), x.value.floats + first, Int64(width), scales.floats,
          dw.floats + first, Int64(dy.rows), Int64(range.count))
      }
    }
  }
}
