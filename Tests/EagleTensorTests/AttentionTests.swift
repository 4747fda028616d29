import EagleTensor
import Testing

/// Two conversations of 150 and 90 keys, 3 chain steps; grouped heads. Blocks of 64 rows begin and end inside both.
@Suite struct AttentionTests {
  private let shape = AttentionShape(heads: 6, kvHeads: 2, headDimension: 16)
  private let rows: [AttentionRow]

  init() {
    var rows: [AttentionRow] = []
    for position in 0..<150 where position % 7 != 3 {
      rows.append(AttentionRow(prefixStart: 0, prefixCount: Int32(position + 1)))
    }
    for position in 0..<90 { rows.append(AttentionRow(prefixStart: 150, prefixCount: Int32(position + 1))) }
    self.rows = rows
  }

  @Test func blocksOfRowsAgreeWithRowsAlone() {
    var random = RandomSource(seed: 8)
    func normal(_ shape: [Int]) -> Tensor { .normal(shape, deviation: 1, using: &random) }
    let q = normal([rows.count, shape.queryWidth])
    let (k, v) = (normal([240, shape.keyWidth]), normal([240, shape.keyWidth]))
    let chain = (0..<3).map { _ in
      Attention.ChainStep(
        k: normal([rows.count, shape.keyWidth]), v: normal([rows.count, shape.keyWidth]),
        row: (0..<Int32(rows.count)).reversed())
    }
    let sums = [Tensor([rows.count, shape.heads]), Tensor([rows.count, shape.heads])]
    let alone = Attention.apply(
      q, k, v, rows: rows, chain: chain, shape: shape, logSums: sums[0], .invariant
    ).values
    let together = Attention.apply(
      q, k, v, rows: rows, chain: chain, shape: shape, logSums: sums[1], .fp32
    ).values
    // because: float32 sums of up to 150 terms of size 1
    #expect(zip(alone, together).allSatisfy { abs($0 - $1) < 2e-6 })
    #expect(zip(sums[0].values, sums[1].values).allSatisfy { abs($0 - $1) < 2e-6 })
  }
}
