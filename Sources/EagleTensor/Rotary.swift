import CEagleKernels
import Foundation

// R rows · d head dimension · P rotated pairs of a head.

/// Rotary position embedding: pair i of a head rotates by position · frequency[i].
package struct Rotary: Sendable, Hashable {
  /// d.
  package let headDimension: Int
  /// The angle of each pair at position 1, [P]; elements of a head after the first 2P do not rotate.
  package let frequencies: [Float]
  /// The factor of all cosines and sines.
  package let factor: Float
  /// Whether pairs are neighbours, (x[2i], x[2i + 1]). Otherwise they are halves, (x[i], x[i + P]).
  package let isInterleaved: Bool

  package init(headDimension: Int, frequencies: [Float], factor: Float = 1, isInterleaved: Bool = false) {
    precondition(2 * frequencies.count <= headDimension, "\(frequencies.count) pairs of \(headDimension) elements")
    self.headDimension = headDimension
    self.frequencies = frequencies
    self.factor = factor
    self.isInterleaved = isInterleaved
  }

  /// The plain embedding: all of a head in halves, frequency[i] = θ^(-2i/d).
  package init(headDimension: Int, theta: Double) {
    precondition(headDimension % 2 == 0, "rotary embedding needs an even head dimension, not \(headDimension)")
    self.init(headDimension: headDimension, frequencies: Self.frequencies(headDimension, theta: theta))
  }

  /// θ^(-2i/n) for the pairs of n elements, rounded to float32 as the reference implementations do.
  package static func frequencies(_ n: Int, theta: Double) -> [Float] {
    (0..<n / 2).map { Float(1) / Float(pow(theta, Double(2 * $0) / Double(n))) }
  }

  /// Cosines and sines of the angles of each position.
  package struct Table: Sendable {
    package let cosine: Tensor  // [R, P]
    package let sine: Tensor  // [R, P]
  }

  /// Cosines and sines at `positions`, one row each.
  ///
  /// - Parameter scale: a factor for each row, in addition to that of all rows
  package func table(positions: [Int32], scale: ((Int32) -> Float)? = nil) -> Table {
    let pairs = frequencies.count
    let (cosine, sine) = (Tensor([positions.count, pairs]), Tensor([positions.count, pairs]))
    // As the reference implementations do: angles rounded to float32 before the cosine.
    Parallel.forEachRange(positions.count, grain: 16) { range in
      for row in range {
        let factor = scale.map { $0(positions[row]) * self.factor } ?? self.factor
        for i in 0..<pairs {
          let angle = Float(positions[row]) * frequencies[i]
          cosine.floats[row * pairs + i] = factor * cos(angle)
          sine.floats[row * pairs + i] = factor * sin(angle)
        }
      }
    }
    return Table(cosine: cosine, sine: sine)
  }

  /// Rotates every head of `x` [R, heads · d] in place; `inverse` multiplies by the transposed rotation, which is the
  /// gradient.
  package func rotate(_ x: Tensor, _ table: Table, inverse: Bool = false) {
    let heads = x.columns / headDimension
    precondition(table.cosine.rows == x.rows && x.columns % headDimension == 0, "rotary of \(x.shape)")
    Parallel.forEachRange(x.rows, grain: 32) { range in
      let first = range.lowerBound
      var rotation = rotation(table, from: first, sign: inverse ? -1 : 1)
      eagle_rotary(
        x.floats + first * x.columns, Int64(x.columns), &rotation, Int64(range.count), Int64(heads),
        Int64(headDimension))
    }
  }

  /// Rotates `heads` heads of each row of the table in place, on the calling thread: x [R, heads · d], dense.
  package func rotate(_ x: UnsafeMutablePointer<Float>, heads: Int, _ table: Table) {
    var rotation = rotation(table, from: 0, sign: 1)
    let width = Int64(heads * headDimension)
    eagle_rotary(x, width, &rotation, Int64(table.cosine.rows), Int64(heads), Int64(headDimension))
  }

  private func rotation(_ table: Table, from row: Int, sign: Float) -> eagle_rotation {
    let pairs = frequencies.count
    return eagle_rotation(
      cosine: table.cosine.floats + row * pairs, sine: table.sine.floats + row * pairs, pairs: Int64(pairs),
      is_interleaved: isInterleaved ? 1 : 0, sign: sign)
  }
}
