import CEagleKernels
import EagleTensor
import Foundation
import Testing

/// Compares tuned kernels with their plain forms, or with the formula in double precision.
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

  @Test("a step of AdamW has the same bits however the weights are cut", arguments: [false, true])
  func cutsOfAdamW(hasRates: Bool) {
    let count = 1001
    let (g, rates) = (normal([count], seed: 2), normal([count], seed: 3))
    var settings = eagle_adamw()
    (settings.learning_rate, settings.gradient_scale, settings.epsilon, settings.weight_decay) = (1e-3, 0.7, 1e-8, 0.1)
    (settings.beta1, settings.rest1, settings.beta2, settings.rest2) = (0.9, 0.1, 0.95, 0.05)
    (settings.correction1, settings.correction2) = (0.1, 0.05)
    func step(cut: Int) -> [Float] {
      let (w, m, v) = (normal([count], seed: 1), normal([count], seed: 4), normal([count], seed: 5))
      for i in 0..<count { v.floats[i] *= v.floats[i] }
      for first in stride(from: 0, to: count, by: cut) {
        eagle_adamw_step(
          &settings, w.floats + first, g.floats + first, m.floats + first, v.floats + first,
          hasRates ? UnsafePointer(rates.floats + first) : nil, Int64(min(cut, count - first)))
      }
      return w.values + m.values + v.values
    }
    let whole = step(cut: count)
    for cut in [1, 3, 8, 333, 500] { #expect(step(cut: cut) == whole, "cuts of \(cut)") }
  }

  @Test(
    "attention over rounded keys and values has the bits of that over their values",
    arguments: [(6, 2, 32), (9, 3, 64), (8, 2, 128), (5, 1, 24)], [DType.bfloat16, .q8_0])
  func attentionOfRoundedKeys(_ sizes: (heads: Int, kvHeads: Int, d: Int), dtype: DType) {
    let shape = AttentionShape(heads: sizes.heads, kvHeads: sizes.kvHeads, headDimension: sizes.d)
    guard sizes.d % dtype.blockLength == 0 else { return }
    let q = normal([7, shape.queryWidth], seed: 1)
    let exact = [normal([150, shape.keyWidth], seed: 2), normal([150, shape.keyWidth], seed: 3)]
    let stored = exact.map { dtype == .bfloat16 ? $0.bfloat16() : $0.quantized(dtype) }
    let values = stored.map { $0.float32() }
    // Trees, whose rows have a prefix and scattered keys; and plain sequences.
    let seen = (0..<7).map { SeenKeys(prefix: 0..<100 + $0, path: [120 + $0, 130 + 2 * $0]) }
    let tree = Attention.tree(q, stored[0], stored[1], keys: seen, shape: shape).values
    #expect(tree == Attention.tree(q, values[0], values[1], keys: seen, shape: shape).values)
    #expect(tree != Attention.tree(q, exact[0], exact[1], keys: seen, shape: shape).values)
    let rows = (0..<7).map { AttentionRow(prefixStart: Int32($0), prefixCount: Int32(140 - $0)) }
    for mode in [MatmulMode.batchInvariant(.fp32), .gemm(.fp32), .gemm(.bf16)] {
      let sequence = Attention.apply(q, stored[0], stored[1], rows: rows, shape: shape, mode).values
      #expect(sequence == Attention.apply(q, values[0], values[1], rows: rows, shape: shape, mode).values)
    }
    let keys = RowKeys(seen.map { ($0.prefix.count, $0.path.count) }, width: shape.keyWidth, dtype: dtype)
    for (row, seen) in seen.enumerated() {
      keys.set(row, stored[0].address(ofRow: 0), stored[1].address(ofRow: 0), seen)
    }
    let plain = withExtendedLifetime(stored) { keys.attendPlainly(q, shape).values }
    // because: float32 sums of up to 109 terms of size 1
    #expect(zip(tree, plain).allSatisfy { abs($0 - $1) < 2e-6 })
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

/// Attention with the extensions of some families: capped scores, sinks, windows.
@Suite struct AttentionSwitchesTests {
  private func normal(_ shape: [Int], seed: UInt64) -> Tensor {
    var random = RandomSource(seed: seed)
    return .normal(shape, deviation: 1, using: &random)
  }

  /// Softmax attention of one head in double precision.
  private func reference(
    _ q: [Float], _ k: [[Float]], _ v: [[Float]], scale: Double, softcap: Double?, sink: Double?
  ) -> [Double] {
    let scores = k.map { key -> Double in
      let score = scale * zip(q, key).reduce(0) { $0 + Double($1.0) * Double($1.1) }
      return softcap.map { $0 * tanh(score / $0) } ?? score
    }
    let weights = scores.map { exp($0) }
    let total = weights.reduce(sink.map { exp($0) } ?? 0, +)
    return v[0].indices.map { i in zip(weights, v).reduce(0) { $0 + $1.0 * Double($1.1[i]) } / total }
  }

  @Test(
    "rows, plain loops and blocks agree with the formula",
    arguments: [(nil, false, nil), (2.5, false, nil), (nil, true, nil), (3, true, 9), (nil, false, 200)]
      as [(
        Double?, Bool, Int?
      )])
  func switches(softcap: Double?, hasSinks: Bool, window: Int?) {
    let (heads, d, count) = (4, 12, 230)
    var shape = AttentionShape(heads: heads, kvHeads: 2, headDimension: d)
    (shape.softcap, shape.ownScale) = (softcap.map(Float.init), 0.4)
    let q = normal([count, shape.queryWidth], seed: 1)
    let (k, v) = (normal([count, shape.keyWidth], seed: 2), normal([count, shape.keyWidth], seed: 3))
    let sinks = hasSinks ? normal([heads], seed: 4) : nil
    let rows = (0..<count).map { row in
      let first = max(0, row + 1 - (window ?? count))
      return AttentionRow(prefixStart: Int32(first), prefixCount: Int32(row + 1 - first))
    }
    let results = [MatmulMode.gemm(.fp32), .batchInvariant(.fp32)].map {
      Attention.apply(q, k, v, rows: rows, shape: shape, sinks: sinks, $0).values
    }
    for row in stride(from: 0, to: count, by: 23) {
      let range = Int(rows[row].prefixStart)...row
      for head in 0..<heads {
        let (at, key) = (row * shape.queryWidth + head * d, head / 2 * d)
        func columns(_ x: Tensor) -> [[Float]] {
          range.map { row in (0..<d).map { x.floats[row * shape.keyWidth + key + $0] } }
        }
        let expected = reference(
          (0..<d).map { q.floats[at + $0] }, columns(k), columns(v), scale: 0.4, softcap: softcap,
          sink: sinks.map { Double($0.floats[head]) })
        for result in results {
          // because: float32 sums of up to 230 terms of size 1
          #expect(zip(result[at..<at + d], expected).allSatisfy { abs(Double($0) - $1) < 3e-6 })
        }
      }
    }
  }

  @Test("the gated activations agree with their formulas")
  func activations() {
    let (g, u) = (normal([999], seed: 5), normal([999], seed: 6))
    Elementwise.scale(g, by: 4)
    func check(_ activation: GateActivation, _ formula: (Double, Double) -> Double) {
      let y = Elementwise.gated(g, u, activation).values
      for i in y.indices {
        let expected = formula(Double(g.floats[i]), Double(u.floats[i]))
        // because: an exponential of relative error 2e-7
        #expect(abs(Double(y[i]) - expected) < 1e-6 * (1 + abs(expected)))
      }
    }
    check(.silu) { $0 / (1 + exp(-$0)) * $1 }
    check(.geluTanh) { $0 / 2 * (1 + tanh((2 / Double.pi).squareRoot() * ($0 + 0.044715 * $0 * $0 * $0))) * $1 }
    check(.clippedSiLU(limit: 1.5)) { g, u in
      let (g, u) = (min(g, 1.5), max(-1.5, min(u, 1.5)))
      return g / (1 + exp(-1.702 * g)) * (u + 1)
    }
  }
}
