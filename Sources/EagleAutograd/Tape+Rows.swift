import CEagleKernels
import EagleTensor

extension Tape {
  /// forward: y[i] = x[indices[i]]   so   dx[indices[i]] += dy[i]. The indices are distinct.
  package func gather(_ x: Variable, _ indices: [Int32]) -> Variable {
    result(Rows.gather(x.value, indices), of: [x]) { dy in
      x.addGradient { dx, accumulate in
        if !accumulate { dx.clear() }
        let width = dx.columns
        Parallel.forEachRange(indices.count, grain: 64) { range in
          for row in range {
            eagle_accumulate(dy.floats + row * width, dx.floats + Int(indices[row]) * width, Int64(width))
          }
        }
      }
    }
  }
}
