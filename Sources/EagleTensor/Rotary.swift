import CEagleKernels
import Foundation

/// Rotary position embedding ("rotate half"): the pair (x[i], x[i + d/2]) of a head rotates by
/// position / θ^(2i/d).
package struct Rotary: Sendable {
  package let headDimension: Int
  package let theta: Double

  package init(headDimension: Int, theta: Double) {
    precondition(headDimension % 2 == 0, "rotary embedding needs an even head dimension, not \(headDimension)")
    self.headDimension = headDimension
    self.theta = theta
  }

  /// Cosines and sines of the angles of each position.
  package struct Table: Sendable {
    package let cosine: Tensor  // [R, d/2]
    package let sine: Tensor  // [R, d/2]
  }

  /// Cosines and sines at `positions`, one row each.
  package func table(positions: [Int32]) -> Table {
    let half = headDimension / 2
    let (cosine, sine) = (Tensor([positions.count, half]), Tensor([positions.count, half]))
    // As the reference implementations do: frequencies and angles rounded to float32 before the cosine.
    let frequencies = (0..<half).map { Float(1) / Float(pow(theta, Double(2 * $0) / Double(headDimension))) }
    Parallel.forEachRange(positions.count, grain: 16) { range in
      for row in range {
        for i in 0..<half {
          let angle = Float(positions[row]) * frequencies[i]
          cosine.floats[row * half + i] = cos(angle)
          sine.floats[row * half + i] = sin(angle)
        }
      }
    }
    return Table(cosine: cosine, sine: sine)
  }

  /// Rotates every head of `x` [R, heads · d] in place; `inverse` rotates back, which is the gradient.
  package func rotate(_ x: Tensor, _ table: Table, inverse: Bool = false) {
    let half = headDimension / 2
    let heads = Int64(x.columns / headDimension)
    precondition(table.cosine.rows == x.rows && x.columns % headDimension == 0, "rotary of \(x.shape)")
    Parallel.forEachRange(x.rows, grain: 32) { range in
      let first = range.lowerBound
      eagle_rotary(
        x.floats + first * x.columns, Int64(x.columns), table.cosine.floats + first * half,
        table.sine.floats + first * half, inverse ? -1 : 1, Int64(range.count), heads, Int64(headDimension))
    }
  }

  /// Rotates `heads` heads of each row of the table in place, on the calling thread: x [R, heads · d], dense.
  package func rotate(_ x: UnsafeMutablePointer<Float>, heads: Int, _ table: Table) {
    eagle_rotary(
      x, Int64(heads * headDimension), table.cosine.floats, table.sine.floats, 1, Int64(table.cosine.rows),
      Int64(heads),
      Int64(headDimension))
  }
}
