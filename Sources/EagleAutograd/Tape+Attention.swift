import CEagleKernels
import EagleTensor

/// Keys and values that one draft step made, and the row of them that each later query row owns.
package struct ChainLink {
  package let k: Variable  // [R_j, kvHeads · d]
  package let v: Variable
  package let row: [Int32]  // [R]

  package init(k: Variable, v: Variable, row: [Int32]) {
    self.k = k
    self.v = v
    self.row = row
  }

  var step: Attention.ChainStep { Attention.ChainStep(k: k.value, v: v.value, row: row) }
}

extension Tape {
  /// Attention over a causal prefix and a chain (EagleTensor's `Attention`), for rows ordered by conversation.
  ///
  /// forward: s_t = scale q · k_t,  p = softmax(s),  out = Σ_t p_t v_t
  /// backward: ds_t = p_t (dout · v_t − dout · out)
  ///   dq += scale Σ_t ds_t k_t,  dk_t += scale ds_t q,  dv_t += p_t dout
  ///
  /// - Parameter group: consecutive rows that may have the same rows of a link, as those of a block have; R is a
  ///   multiple of it
  package func attention(
    _ q: Variable, _ k: Variable, _ v: Variable, rows: [AttentionRow], chain: [ChainLink], group: Int = 1,
    shape: AttentionShape
  ) -> Variable {
    precondition(rows.count % group == 0, "\(rows.count) rows in groups of \(group)")
    let logSums = Tensor([q.value.rows, shape.heads])
    let out = Attention.apply(
      q.value, k.value, v.value, rows: rows, chain: chain.map(\.step), shape: shape, logSums: logSums, mode)
    return result(out, of: [q, k, v] + chain.flatMap { [$0.k, $0.v] }) { dout in
      let blocks = AttentionBlocks(
        q: q.value, k: k.value, v: v.value, rows: rows, chain: chain.map(\.step), shape: shape, self.precision)
      let pass = AttentionBackward(blocks: blocks, out: out, logSums: logSums, dout: dout)
      pass.runPrefix(addingTo: (q, k, v))
      pass.runChain(addingTo: q, chain, group: group)
    }
  }
}

/// The backward pass of one attention. The scores are computed again from the queries and keys; the log-sum-exp of the
/// forward pass turns them into probabilities.
private struct AttentionBackward {
  let blocks: AttentionBlocks
  let out, logSums, dout: Tensor
  /// dout · out of each row and head, [R, heads].
  let delta: Tensor

  init(blocks: AttentionBlocks, out: Tensor, logSums: Tensor, dout: Tensor) {
    self.blocks = blocks
    self.out = out
    self.logSums = logSums
    self.dout = dout
    let (d, delta) = (blocks.shape.headDimension, Tensor(logSums.shape))
    Parallel.forEachRange(delta.count, grain: 64) { range in
      for i in range { delta.floats[i] = eagle_dot(dout.floats + i * d, out.floats + i * d, Int64(d)) }
    }
    self.delta = delta
  }

  private var shape: AttentionShape { blocks.shape }

  // MARK: prefix

  /// Key rows whose gradients exist for every query head at a time: at 32 heads of 128 elements, twice 16 MB. A
  /// micro-batch of short conversations is one window.
  private static let windowKeys = 1024

  /// Window by window of key rows; each window cut by (conversation, query head), so that no two tasks write to the
  /// same memory. Heads that share a key head therefore have key and value gradients of their own, which are added up
  /// at the end of a window. The order of all sums is fixed.
  func runPrefix(addingTo inputs: (q: Variable, k: Variable, v: Variable)) {
    let dq = Tensor(blocks.q.shape)
    let conversations = conversations()
    for first in stride(from: 0, to: blocks.k.rows, by: Self.windowKeys) {
      let window = first..<min(blocks.k.rows, first + Self.windowKeys)
      let seen = conversations.map { $0.filter { $0.sees(window) } }.filter { !$0.isEmpty }
      guard !seen.isEmpty else { continue }
      let (dk, dv) = (Tensor.zeros([window.count, shape.queryWidth]), Tensor.zeros([window.count, shape.queryWidth]))
      Parallel.forEachRange(seen.count * shape.heads, grain: 1, dynamic: true) { range in
        for task in range {
          for block in seen[task / shape.heads] {
            runPrefix(block, window, head: task % shape.heads, dq: dq, dk: dk, dv: dv)
          }
        }
      }
      addHeads(of: dk, to: inputs.k, window)
      addHeads(of: dv, to: inputs.v, window)
    }
    inputs.q.addGradient(giving: dq)
  }

  /// Blocks that share keys, the most work first: those of one conversation, whose windows overlap where there are any.
  private func conversations() -> [[AttentionBlocks.Block]] {
    var result: [[AttentionBlocks.Block]] = []
    for block in blocks.blocks {
      if let last = result.last?.last, last.sees(block.firstKey..<block.firstKey + block.keys) {
        result[result.count - 1].append(block)
      } else {
        result.append([block])
      }
    }
    func work(_ blocks: [AttentionBlocks.Block]) -> Int { blocks.reduce(0) { $0 + $1.rows.count * $1.keys } }
    return result.sorted { work($0) > work($1) }
  }

  /// One block of query rows and the keys of the window that it sees, for one query head.
  private func runPrefix(
    _ whole: AttentionBlocks.Block, _ window: Range<Int>, head: Int, dq: Tensor, dk: Tensor, dv: Tensor
  ) {
    let block = whole.clamped(to: window)
    let (d, width, keys, count) = (shape.headDimension, shape.queryWidth, block.keys, block.rows.count)
    let first = block.rows.lowerBound * width + head * d
    let (p, ds) = (Tensor([count, keys]), Tensor([count, keys]))
    blocks.multiplyByKeys(block, head: head, blocks.q.floats + first, blocks.k, into: p.floats, columns: keys)
    blocks.multiplyByKeys(block, head: head, dout.floats + first, blocks.v, into: ds.floats, columns: keys)
    for (i, row) in block.rows.enumerated() {
      let index = row * shape.heads + head
      let own = blocks.rows[row]
      // Of the block's keys a row sees those from its window's first to its own position.
      let first = max(0, min(keys, Int(own.prefixStart) - block.firstKey))
      let end = max(first, min(keys, Int(own.prefixStart + own.prefixCount) - block.firstKey))
      (p.floats + i * keys).update(repeating: 0, count: first)
      eagle_attention_probabilities(
        p.floats + i * keys + first, Int64(end - first), Int64(keys - first), shape.scale, logSums.floats[index])
      eagle_attention_score_gradient(
        p.floats + i * keys, ds.floats + i * keys, Int64(keys), delta.floats[index], shape.scale)
    }
    Matmul.roundedGemm(
      ds.matrix, blocks.keyMatrix(blocks.k, block, head),
      into: MutableFloatMatrix(dq.floats + first, rows: count, columns: d, stride: width),
      accumulate: block.firstKey > whole.firstKey, precision: blocks.precision)
    let firstKey = (block.firstKey - window.lowerBound) * width + head * d
    for (scores, x, gradient) in [(ds, blocks.q, dk), (p, dout, dv)] {
      Matmul.roundedGemm(
        scores.matrix.transposed, FloatMatrix(x.floats + first, rows: count, columns: d, stride: width),
        into: MutableFloatMatrix(gradient.floats + firstKey, rows: keys, columns: d, stride: width),
        accumulate: true, precision: blocks.precision)
    }
  }

  /// Sums of the query heads that share a key head, added to rows `window` of the gradient of x: [n, heads · d] to
  /// [n, kvHeads · d].
  private func addHeads(of gradient: Tensor, to x: Variable, _ window: Range<Int>) {
    let (d, group) = (shape.headDimension, shape.groupSize)
    if group == 1, window.count == x.value.rows { return x.addGradient(giving: gradient) }
    x.addGradient { whole, accumulate in
      if !accumulate { whole.clear() }
      let dx = whole.slice(window)
      Parallel.forEachRange(gradient.rows * shape.kvHeads, grain: 64) { range in
        for keyHead in range {
          for head in keyHead * group..<(keyHead + 1) * group {
            eagle_accumulate(gradient.floats + head * d, dx.floats + keyHead * d, Int64(d))
          }
        }
      }
    }
  }

  // MARK: chain

  /// A chain row belongs to the query rows of one group, so groups are independent.
  func runChain(addingTo q: Variable, _ chain: [ChainLink], group: Int) {
    var first = 0
    while first < chain.count {
      // Consecutive links to the same keys add to one gradient.
      let (k, v) = (chain[first].k, chain[first].v)
      let links = first..<(chain[first...].firstIndex { $0.k !== k } ?? chain.count)
      let (dk, dv) = (Tensor.zeros(k.shape), Tensor.zeros(v.shape))
      q.addGradient { dq, accumulate in
        if !accumulate { dq.clear() }
        Parallel.forEachRange(blocks.rows.count / group, grain: max(1, 16 / group)) { range in
          for row in range.lowerBound * group..<range.upperBound * group {
            for link in links { runChain(blocks.chain[link], row, dq: dq, dk: dk, dv: dv) }
          }
        }
      }
      k.addGradient(giving: dk)
      v.addGradient(giving: dv)
      first = links.upperBound
    }
  }

  private func runChain(_ step: Attention.ChainStep, _ row: Int, dq: Tensor, dk: Tensor, dv: Tensor) {
    let d = shape.headDimension
    for head in 0..<shape.heads {
      let (query, key) = (row * shape.queryWidth + head * d, blocks.chainOffset(step, row, head))
      let index = row * shape.heads + head
      var chain = eagle_attention_chain(
        dout: dout.floats + query, q: blocks.q.floats + query, k: step.k.floats + key, v: step.v.floats + key,
        dq: dq.floats + query, dk: dk.floats + key, dv: dv.floats + key, delta: delta.floats[index],
        lse: logSums.floats[index], scale: shape.scale, d: Int64(d))
      eagle_attention_chain_backward(&chain)
    }
  }
}
