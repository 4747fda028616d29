import COpenBLAS

// O outputs · F features · r rank.

/// Dense linear algebra by LAPACK.
package enum LinearAlgebra {
  /// X with X G = C, for a symmetric positive definite G. Overwrites both: C holds X afterwards.
  ///
  /// - Parameters:
  ///   - g: [F, F] float32
  ///   - c: [O, F] float32
  /// - Returns: false when G is not positive definite
  package static func solve(_ g: Tensor, _ c: Tensor) -> Bool {
    precondition(g.shape == [c.columns, c.columns], "solve \(c.shape) with \(g.shape)")
    var (n, outputs, info) = (Int32(c.columns), Int32(c.rows), Int32(0))
    spotrf_("L", &n, g.floats, &n, &info)
    guard info == 0 else { return false }
    // Rows of C are the columns that LAPACK solves for.
    spotrs_("L", &n, &outputs, g.floats, &n, c.floats, &n, &info)
    return info == 0
  }

  /// The best approximation of a square matrix by left [O, r] times right [r, O], both with the roots of its r largest
  /// singular values; nil when LAPACK finds none.
  package static func lowRank(_ a: Tensor, rank: Int) -> (left: Tensor, right: Tensor)? {
    let size = a.rows
    precondition(a.columns == size && rank <= size, "rank \(rank) of \(a.shape)")
    // Row-major A is column-major Aᵀ = V S Uᵀ: what LAPACK calls U holds the rows of Vᵀ, what it calls Vᵀ the rows of
    // U.
    let (work, values) = (Tensor(a.shape), Tensor([size]))
    let (vRows, u) = (Tensor(a.shape), Tensor(a.shape))
    Elementwise.copy(a, into: work)
    var (n, length, info) = (Int32(size), Int32(-1), Int32(0))
    var integers = [Int32](repeating: 0, count: 8 * size)
    var wanted: Float = 0
    sgesdd_(
      "A", &n, &n, work.floats, &n, values.floats, vRows.floats, &n, u.floats, &n, &wanted, &length, &integers, &info)
    length = Int32(wanted) + 1
    let scratch = Tensor([Int(length)])
    sgesdd_(
      "A", &n, &n, work.floats, &n, values.floats, vRows.floats, &n, u.floats, &n, scratch.floats, &length, &integers,
      &info)
    guard info == 0 else { return nil }
    let (left, right) = (Tensor([size, rank]), Tensor([rank, size]))
    for k in 0..<rank {
      let root = values.floats[k].squareRoot()
      for i in 0..<size {
        left.floats[i * rank + k] = root * u.floats[i * size + k]
        right.floats[k * size + i] = root * vRows.floats[k * size + i]
      }
    }
    return (left, right)
  }
}
