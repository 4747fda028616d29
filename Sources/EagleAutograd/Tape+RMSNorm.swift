import CEagleKernels
import EagleTensor

extension Tape {
  /// forward: y[i] = x[i] · r · w[i], r = 1 / √(mean(x²) + ε)
  /// backward: dx[i] += r w[i] dy[i] − x[i] r³/C · Σ_j dy[j] w[j] x[j],  dw[i] += dy[i] x[i] r
  public func rmsNorm(_ x: Variable, _ w: Variable, epsilon: Float) -> Variable {
    let y = Tensor(x.shape)
    let scales = Tensor([x.value.rows])
    RMSNorm.apply(x.value, w.value, epsilon: epsilon, into: y, scales: scales)
    return result(y, of: [x, w]) { dy in
      Self.normInputGradient(dy, x, w, scales)
      Self.normWeightGradient(dy, x, w, scales)
    }
  }

  private static func normInputGradient(_ dy: Tensor, _ x: Variable, _ w: Variable, _ scales: Tensor) {
    guard let dx = x.gradientToAccumulate() else { return }
    let columns = dy.columns
    Parallel.forEachRange(dy.rows, grain: 32) { range in
      let (at, first) = (range.lowerBound * columns, range.lowerBound)
      eagle_rms_norm_backward(
        dy.floats + at, Int64(columns), x.value.floats + at, w.value.floats, scales.floats + first, dx.floats + at,
        nil, Int64(range.count), Int64(columns))
    }
  }

  /// One thread: the sum over rows has a fixed order.
  private static func normWeightGradient(_ dy: Tensor, _ x: Variable, _ w: Variable, _ scales: Tensor) {
    guard let dw = w.gradientToAccumulate() else { return }
    eagle_rms_norm_backward(
      dy.floats, Int64(dy.columns), x.value.floats, w.value.floats, scales.floats, nil, dw.floats, Int64(dy.rows),
      Int64(dy.columns))
  }
}
