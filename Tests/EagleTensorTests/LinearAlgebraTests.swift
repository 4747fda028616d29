import EagleTensor
import Testing

@Suite struct LinearAlgebraTests {
  private func normal(_ shape: [Int], seed: UInt64) -> Tensor {
    var random = RandomSource(seed: seed)
    return .normal(shape, deviation: 1, using: &random)
  }

  @Test("a linear system is solved, and a singular one refused") func systemsAreSolved() {
    let (features, wanted) = (normal([40, 12], seed: 1), normal([5, 12], seed: 2))
    let (g, c) = (Tensor.zeros([12, 12]), Tensor.zeros([5, 12]))
    Matmul.accumulateWeightGradient(features, features, into: g, .fp32)
    // C = X G, row by row.
    for o in 0..<5 {
      for j in 0..<12 {
        c.floats[o * 12 + j] = (0..<12).reduce(0) { $0 + wanted.floats[o * 12 + $1] * g.floats[$1 * 12 + j] }
      }
    }
    #expect(LinearAlgebra.solve(g, c))
    for (found, x) in zip(c.values, wanted.values) { #expect(abs(found - x) < 1e-3) }
    #expect(!LinearAlgebra.solve(Tensor.zeros([3, 3]), Tensor.zeros([2, 3])))
  }

  /// A matrix of rank 3 is reproduced from 3 dimensions. With fewer, the error is that of the remaining singular
  /// values.
  @Test("a low-rank approximation is exact at the rank of the matrix, worse below")
  func lowRankIsTheBestOfItsRank() throws {
    let (left, right) = (normal([10, 3], seed: 3), normal([10, 3], seed: 4))
    let a = Matmul.forward(left, right, .fp32)  // left times right transposed
    func distance(_ rank: Int) throws -> Float {
      let parts = try #require(LinearAlgebra.lowRank(a, rank: rank))
      #expect(parts.left.shape == [10, rank] && parts.right.shape == [rank, 10])
      return (0..<100).reduce(Float(0)) { sum, at in
        let (i, j) = (at / 10, at % 10)
        let value = (0..<rank).reduce(Float(0)) {
          $0 + parts.left.floats[i * rank + $1] * parts.right.floats[$1 * 10 + j]
        }
        return sum + (value - a.floats[at]) * (value - a.floats[at])
      }
    }
    #expect(try distance(3) < 1e-8)
    let (two, one) = (try distance(2), try distance(1))
    #expect(two > 0.01 && one > two)
    // No column of A is nearer to A than its best approximation of rank 1.
    for column in 0..<10 {
      let norm = (0..<10).reduce(Float(0)) { $0 + a.floats[$1 * 10 + column] * a.floats[$1 * 10 + column] }
      let rest = (0..<10).reduce(Float(0)) { sum, j in
        let along = (0..<10).reduce(Float(0)) { $0 + a.floats[$1 * 10 + column] * a.floats[$1 * 10 + j] } / norm
        return sum
          + (0..<10).reduce(Float(0)) {
            let difference = a.floats[$1 * 10 + j] - along * a.floats[$1 * 10 + column]
            return $0 + difference * difference
          }
      }
      #expect(rest >= one * 0.999)
    }
  }
}
