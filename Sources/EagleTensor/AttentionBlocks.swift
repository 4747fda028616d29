import CEagleKernels
import EagleCore

// R query rows · N key rows · B rows of a block · n prefix keys that a block sees · d head dimension.

/// Attention in blocks of query rows: S = Q Kᵀ and O = P V are GEMMs of one head, [B, d] with [d, n] and back.
///
/// A block's rows share the start of their prefix. Its scores, [B, n + chain], stay in the cache: rows see different
/// numbers of keys, and what a row does not see has probability 0.
package struct AttentionBlocks {
  package let q, k, v: Tensor
  package let rows: [AttentionRow]
  package let chain: [Attention.ChainStep]
  package let shape: AttentionShape
  package let precision: ComputePrecision

  package init(
    q: Tensor, k: Tensor, v: Tensor, rows: [AttentionRow], chain: [Attention.ChainStep], shape: AttentionShape,
    _ precision: ComputePrecision
  ) {
    self.q = q
    self.k = k
    self.v = v
    self.rows = rows
    self.chain = chain
    self.shape = shape
    self.precision = precision
  }

  /// Consecutive query rows whose prefixes start at the same key or, with a window, within those before them.
  package struct Block {
    package var rows: Range<Int>
    package let firstKey: Int
    /// The keys from the first to the last that a row sees.
    package var keys: Int

    /// Whether a row sees one of these keys.
    package func sees(_ window: Range<Int>) -> Bool { (firstKey..<firstKey + keys).overlaps(window) }

    /// The same rows with those of their keys that are in `window`.
    package func clamped(to window: Range<Int>) -> Block {
      let seen = (firstKey..<firstKey + keys).clamped(to: window)
      return Block(rows: rows, firstKey: seen.lowerBound, keys: seen.count)
    }
  }

  /// Rows of a block: eight tiles of the kernels for AVX-512, or about eleven of those for AVX2.
  private var blockRows: Int { Processor.hasAVX512 || Matmul.takesBFloat16(precision) ? 96 : 64 }

  /// All rows, in order, cut into blocks.
  package var blocks: [Block] {
    var result: [Block] = []
    for (index, row) in rows.enumerated() {
      let (first, count) = (Int(row.prefixStart), Int(row.prefixCount))
      if let last = result.last, (last.firstKey..<last.firstKey + last.keys).contains(first),
        last.rows.count < blockRows
      {
        result[result.count - 1].rows = last.rows.lowerBound..<index + 1
        result[result.count - 1].keys = max(last.keys, first - last.firstKey + count)
      } else {
        result.append(Block(rows: index..<index + 1, firstKey: first, keys: count))
      }
    }
    return result
  }

  /// - Parameters:
  ///   - sinks: a logit for each head, [heads]
  ///   - logSums: receives the log-sum-exp of each row and head, [R, heads]
  func apply(sinks: Tensor?, logSums: Tensor?) -> Tensor {
    let out = Tensor(q.shape)
    let blocks = blocks
    // Long prefixes first, so that no thread starts on one when the others are done.
    let order = blocks.indices.sorted { (blocks[$0].keys, $1) > (blocks[$1].keys, $0) }
    Parallel.forEachRange(blocks.count * shape.heads, grain: 1, dynamic: true) { range in
      for task in range {
        let head = task % shape.heads
        attend(
          blocks[order[task / shape.heads]], head: head, out, sink: sinks.map { UnsafePointer($0.floats + head) },
          logSums)
      }
    }
    return out
  }

  /// A scratch buffer of this many floats. Its size is a power of two, so that blocks with other numbers of keys reuse
  /// it: a long conversation has blocks of every length.
  private static func scratch(_ count: Int) -> Tensor {
    Tensor([1 << (Int.bitWidth - max(1, count - 1).leadingZeroBitCount)])
  }

  private func attend(
    _ block: Block, head: Int, _ out: Tensor, sink: UnsafePointer<Float>?, _ logSums: Tensor?
  ) {
    let (d, width, columns) = (shape.headDimension, shape.queryWidth, block.keys + chain.count)
    let first = block.rows.lowerBound * width + head * d
    let scores = Self.scratch(block.rows.count * columns)
    let s = scores.floats
    multiplyByKeys(block, head: head, q.floats + first, k, into: s, columns: columns)
    var inverseSums = [Float](repeating: 0, count: block.rows.count)
    for (i, row) in block.rows.enumerated() {
      for (j, step) in chain.enumerated() {
        s[i * columns + block.keys + j] = eagle_dot(
          q.floats + row * width + head * d, step.k.floats + chainOffset(step, row, head), Int64(d))
      }
      let first = Int64(Int(rows[row].prefixStart) - block.firstKey)
      var own = eagle_attention_scores(
        scores: s + i * columns, first: first, end: first + Int64(rows[row].prefixCount), keys: Int64(block.keys),
        chain: Int64(chain.count), scale: shape.scale, softcap: shape.softcap ?? 0, sink: sink)
      inverseSums[i] = eagle_attention_softmax(&own, logSums.map { $0.floats + row * shape.heads + head })
    }
    Matmul.roundedGemm(
      FloatMatrix(s, rows: block.rows.count, columns: block.keys, stride: columns), keyMatrix(v, block, head),
      into: MutableFloatMatrix(out.floats + first, rows: block.rows.count, columns: d, stride: width),
      accumulate: false, precision: precision)
    for (i, row) in block.rows.enumerated() {
      let o = out.floats + row * width + head * d
      for (j, step) in chain.enumerated() {
        eagle_add_scaled(
          o, s[i * columns + block.keys + j], step.v.floats + chainOffset(step, row, head), Int64(d))
      }
      eagle_scale(o, inverseSums[i], Int64(d))
    }
  }

  /// [B, d] of one head, `width` floats a row, times the block's keys (or values) transposed: [B, n].
  package func multiplyByKeys(
    _ block: Block, head: Int, _ x: UnsafePointer<Float>, _ keys: Tensor, into y: UnsafeMutablePointer<Float>,
    columns: Int
  ) {
    let count = block.rows.count
    Matmul.roundedGemm(
      FloatMatrix(x, rows: count, columns: shape.headDimension, stride: shape.queryWidth),
      keyMatrix(keys, block, head).transposed,
      into: MutableFloatMatrix(y, rows: count, columns: block.keys, stride: columns), accumulate: false,
      precision: precision)
  }

  /// The keys (or values) that a block's query head reads, [n, d].
  package func keyMatrix(_ keys: Tensor, _ block: Block, _ head: Int) -> FloatMatrix {
    let first = block.firstKey * shape.keyWidth + head / shape.groupSize * shape.headDimension
    return FloatMatrix(
      keys.floats + first, rows: block.keys, columns: shape.headDimension, stride: shape.keyWidth)
  }

  /// The offset of a row's own key of a chain step.
  package func chainOffset(_ step: Attention.ChainStep, _ row: Int, _ head: Int) -> Int {
    Int(step.row[row]) * shape.keyWidth + head / shape.groupSize * shape.headDimension
  }
}
