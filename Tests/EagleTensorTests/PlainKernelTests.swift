import CEagleKernels
import EagleTensor
import Foundation
import Testing

/// Tuned kernels against their plain forms, or against the formula in double precision.
@Suite struct PlainKernelTests {
  private func normal(_ shape: [Int], seed: UInt64) -> Tensor {
    var random = RandomSource(seed: seed)
    return .normal(shape, deviation: 1, using: &random)
  }

  @Test(
    "attention of single rows agrees with its plain form",
    arguments: [(6, 2, 16), (9, 3, 64), (5, 1, 24), (4, 4, 12), (8, 2, 128)])
  func attention(heads: Int, kvHeads: Int, d: Int) {
    let shape = AttentionShape(heads: heads, kvHeads: kvHeads, headDimension: d)
    let counts = [17, 4, 150, 33, 64, 1, 149].map { Int32($0) }
    let q = normal([counts.count, shape.queryWidth], seed: 1)
    let (k, v) = (normal([150, shape.keyWidth], seed: 2), normal([150, shape.keyWidth], seed: 3))
    let rows = counts.map { AttentionRow(prefixStart: 0, prefixCount: $0) }
    let sums = [Tensor([rows.count, heads]), Tensor([rows.count, heads])]
    let tuned = Attention.apply(q, k, v, rows: rows, shape: shape, logSums: sums[0], .batchInvariant(.fp32)).values
    let keys = RowKeys(counts.map { (Int($0), 0) }, width: shape.keyWidth)
    for row in rows.indices { keys.setPrefix(row, k.floats, v.floats) }
    let plain = withExtendedLifetime((k, v)) { keys.attendPlainly(q, shape, logSums: sums[1]).values }
    // because: float32 sums of up to 150 terms of size 1
    #expect(zip(tuned, plain).allSatisfy { abs($0 - $1) < 2e-6 })
    // because: log-sum-exps of size 10, with an exponential of relative error 2e-7
    #expect(zip(sums[0].values, sums[1].values).allSatisfy { abs($0 - $1) < 4e-6 })
  }

  @Test("softmax and its log-sum-exp agree with the formula", arguments: [1, 7, 64, 1000])
  func softmax(count: Int) {
    let x = normal([count], seed: 4)
    let exponentials = x.values.map { exp(Double($0)) }
    let total = exponentials.reduce(0, +)
    let logSum = eagle_softmax_row(x.floats, Int64(count))
    // because: an exponential of relative error 2e-7, and sums of up to 1000 terms
    #expect(abs(Double(logSum) - log(total)) < 1e-6 * (1 + abs(log(total))))
    #expect(zip(x.values, exponentials).allSatisfy { abs(Double($0) - $1 / total) < 1e-6 * ($1 / total) })
  }

  @Test("the RMS norm agrees with the formula", arguments: [1, 6, 64, 577])
  func norm(columns: Int) {
    let (x, w) = (normal([5, columns], seed: 5), normal([columns], seed: 6))
    let y = RMSNorm.apply(x, w, epsilon: 1e-5).values
    for row in 0..<5 {
      let values = (0..<columns).map { Double(x.floats[row * columns + $0]) }
      let scale = 1 / (values.reduce(0) { $0 + $1 * $1 } / Double(columns) + 1e-5).squareRoot()
      for i in 0..<columns {
        // because: float32 sums of up to 577 squares
        #expect(abs(Double(y[row * columns + i]) - values[i] * scale * Double(w.floats[i])) < 4e-6)
      }
    }
  }
}
