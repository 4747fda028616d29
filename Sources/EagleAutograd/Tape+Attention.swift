import CEagleKernels
import EagleTensor

/// Keys and values that one draft step made, and which row of them each later query row owns.
public struct ChainLink {
  public let k: Variable  // [R_j, kvHeads · d]
  public let v: Variable
  public let row: [Int32]  // [R]

  public init(k: Variable, v: Variable, row: [Int32]) {
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
  /// backward: ds_t = p_t (dout · v_t − dout · out),  dq += scale Σ_t ds_t k_t,  dk_t += scale ds_t q,  dv_t += p_t dout
  public func attention(
    _ q: Variable, _ k: Variable, _ v: Variable, rows: [AttentionRow], chain: [ChainLink], shape: AttentionShape
  ) -> Variable {
    let logSums = Tensor([q.value.rows, shape.heads])
    let out = Attention.apply(
      q.value, k.value, v.value, rows: rows, chain: chain.map(\.step), shape: shape, logSums: logSums)
    return result(out, of: [q, k, v] + chain.flatMap { [$0.k, $0.v] }) { dout in
      let pass = AttentionBackward(
        q: q.value, k: k.value, v: v.value, rows: rows, chain: chain, shape: shape, out: out, logSums: logSums,
        dout: dout, dq: Self.buffer(q), dk: Self.buffer(k), dv: Self.buffer(v))
      pass.run()
    }
  }

  fileprivate static func buffer(_ x: Variable) -> Tensor { x.gradientToAccumulate() ?? Tensor.zeros(x.shape) }
}

/// The backward pass of one attention. Work is cut by (conversation, kv head): no two pieces write to the same place.
private struct AttentionBackward {
  let q, k, v: Tensor
  let rows: [AttentionRow]
  let chain: [ChainLink]
  let shape: AttentionShape
  let out, logSums, dout, dq, dk, dv: Tensor

  func run() {
    let chainGradients = chain.map { (k: Tape.buffer($0.k), v: Tape.buffer($0.v)) }
    let conversations = runs()
    Parallel.forEachRange(conversations.count * shape.kvHeads, grain: 1, dynamic: true) { range in
      for task in range {
        backward(
          conversations[task / shape.kvHeads], kvHead: task % shape.kvHeads, chainGradients: chainGradients)
      }
    }
  }

  /// Ranges of consecutive rows whose prefixes start at the same key.
  private func runs() -> [Range<Int>] {
    var result: [Range<Int>] = []
    var start = 0
    for row in rows.indices where row + 1 == rows.count || rows[row + 1].prefixStart != rows[row].prefixStart {
      result.append(start..<row + 1)
      start = row + 1
    }
    return result
  }

  private func backward(_ range: Range<Int>, kvHead: Int, chainGradients: [(k: Tensor, v: Tensor)]) {
    let (d, group, width) = (shape.headDimension, shape.groupSize, shape.keyWidth)
    withUnsafeTemporaryAllocation(of: UnsafeMutablePointer<Float>?.self, capacity: 2 * chain.count + 1) { pointers in
      KeyCursor.with(k, v, rows: rows, chain: chain.map(\.step), shape: shape) { cursor in
        for row in range {
          cursor.move(to: row)
          for (j, gradients) in chainGradients.enumerated() {
            pointers[j] = gradients.k.floats + Int(chain[j].row[row]) * width
            pointers[chain.count + j] = gradients.v.floats + Int(chain[j].row[row]) * width
          }
          let first = Int(rows[row].prefixStart) * width
          var targets = eagle_attention_gradients(
            prefix_dk: dk.floats + first, prefix_dv: dv.floats + first, chain_dk: pointers.baseAddress!,
            chain_dv: pointers.baseAddress! + chain.count)
          let at = row * shape.queryWidth + kvHead * group * d
          eagle_attention_backward(
            dout.floats + at, out.floats + at, q.floats + at, logSums.floats + row * shape.heads + kvHead * group,
            Int64(group), Int64(d), Int64(kvHead * d), &cursor.keys, shape.scale, cursor.scores, dq.floats + at,
            &targets)
        }
      }
    }
  }
}
