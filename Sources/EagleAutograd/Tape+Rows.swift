import CEagleKernels
import EagleTensor

extension Tape {
  /// forward: y[i] = table[ids[i]]   so   dtable[ids[i]] += dy[i], in the order of i. Ids may repeat: each thread has
  /// columns of its own.
  package func embedding(_ table: Variable, _ ids: [Int32]) -> Variable {
    result(Rows.gather(table.value, ids), of: [table]) { dy in
      table.addGradient { gradient, accumulate in
        if !accumulate { gradient.clear() }
        let width = gradient.columns
        Parallel.forEachRange(width, grain: 64) { columns in
          for (row, id) in ids.enumerated() {
            eagle_accumulate(
              dy.floats + row * width + columns.lowerBound, gradient.floats + Int(id) * width + columns.lowerBound,
              Int64(columns.count))
          }
        }
      }
    }
  }

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
