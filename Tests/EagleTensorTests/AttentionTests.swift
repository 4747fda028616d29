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

  @Test("attention over blocks of rows agrees with attention row by row") func blocksOfRowsAgreeWithRowsAlone() {
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
      q, k, v, rows: rows, chain: chain, shape: shape, logSums: sums[0], .batchInvariant(.fp32)
    ).values
    let together = Attention.apply(
      q, k, v, rows: rows, chain: chain, shape: shape, logSums: sums[1], .gemm(.fp32)
    ).values
    // because: float32 sums of up to 150 terms of size 1
    #expect(zip(alone, together).allSatisfy { abs($0 - $1) < 2e-6 })
    #expect(zip(sums[0].values, sums[1].values).allSatisfy { abs($0 - $1) < 2e-6 })
  }

  /// Groups of up to nine heads, head widths that are no multiple of a vector, numbers of keys that are no multiple of
  /// eight, rows with many and with few keys: a head of a row has the same bits as alone.
  @Test(
    "an attention head of a row has the same bits alone",
    arguments: [(6, 2, 16), (9, 3, 64), (5, 1, 24), (9, 1, 80), (4, 4, 12), (8, 2, 128)])
  func aHeadDoesNotDependOnWhatIsBesideIt(heads: Int, kvHeads: Int, d: Int) {
    var random = RandomSource(seed: 9)
    let shape = AttentionShape(heads: heads, kvHeads: kvHeads, headDimension: d)
    let (k, v) = (
      Tensor.normal([150, shape.keyWidth], deviation: 1, using: &random),
      Tensor.normal([150, shape.keyWidth], deviation: 1, using: &random)
    )
    let rows = [17, 4, 150, 33, 64, 65, 150, 149, 3, 32, 100].map { AttentionRow(prefixStart: 0, prefixCount: $0) }
    let q = Tensor.normal([rows.count, shape.queryWidth], deviation: 1, using: &random)
    let together = Attention.apply(q, k, v, rows: rows, shape: shape, .batchInvariant(.fp32)).values
    // Within another loop, one thread computes the maximum number of rows at a time.
    let inner = Tensor(q.shape)
    Parallel.forEachRange(2, grain: 1, dynamic: true) { range in
      for index in range where index == 1 {
        Elementwise.copy(Attention.apply(q, k, v, rows: rows, shape: shape, .batchInvariant(.fp32)), into: inner)
      }
    }
    #expect(inner.values == together)
    func columns(_ x: Tensor, _ range: Range<Int>) -> Tensor {
      Tensor((0..<x.rows).flatMap { row in range.map { x.values[row * x.columns + $0] } }, [x.rows, range.count])
    }
    let one = AttentionShape(heads: 1, kvHeads: 1, headDimension: d)
    for head in 0..<heads {
      let (own, key) = (head * d..<(head + 1) * d, head / shape.groupSize * d..<(head / shape.groupSize + 1) * d)
      let (headQ, headK, headV) = (columns(q, own), columns(k, key), columns(v, key))
      for row in rows.indices {
        let alone = Attention.apply(
          headQ.slice(row..<row + 1), headK, headV, rows: [rows[row]], shape: one, .batchInvariant(.fp32))
        let at = row * shape.queryWidth + head * d
        #expect(together[at..<at + d].elementsEqual(alone.values))
      }
    }
    // A chain of single keys after the prefix is the same sequence.
    let paths = rows.map { row in Array(0..<Int(row.prefixCount) - 2) }
    #expect(Attention.tree(q, k, v, prefix: 2, paths: paths, shape: shape).values == together)
  }
}
