import EagleAutograd
import EagleTensor
import Foundation
import Testing

/// Compares the gradients of `sum(output · probe)` with central differences, for every element of every input.
private func check(_ inputs: [Tensor], tolerance: Double = 2e-3, _ op: (Tape, [Variable]) -> Variable) {
  var random = RandomSource(seed: 99)
  let tape = Tape(recording: true, precision: .fp32)
  let variables = inputs.map { Variable($0, requiresGradient: true) }
  let output = op(tape, variables)
  let probe = Tensor.normal(output.shape, deviation: 1, using: &random)
  tape.seed(output, with: probe)
  tape.backward()
  func loss() -> Double {
    let value = op(Tape(recording: false, precision: .fp32), inputs.map { Variable($0) }).value.values
    return zip(value, probe.values).reduce(0) { $0 + Double($1.0) * Double($1.1) }
  }
  for (index, input) in inputs.enumerated() {
    let gradient = variables[index].gradient?.values ?? []
    #expect(gradient.count == input.count)
    let scale = max(1, gradient.map { Double(abs($0)) }.max() ?? 1)
    for i in 0..<input.count {
      let step: Float = 1e-2
      let original = input.floats[i]
      input.floats[i] = original + step
      let above = loss()
      input.floats[i] = original - step
      let below = loss()
      input.floats[i] = original
      let numeric = (above - below) / Double(2 * step)
      #expect(abs(numeric - Double(gradient[i])) / scale < tolerance, "input \(index), element \(i)")
    }
  }
}

@Suite struct GradientTests {
  private func normal(_ shapes: [[Int]], seed: UInt64 = 1) -> [Tensor] {
    var random = RandomSource(seed: seed)
    return shapes.map { .normal($0, deviation: 1, using: &random) }
  }

  @Test("the gradient of linear agrees with central differences")
  func linear() { check(normal([[3, 5], [4, 5]])) { $0.linear($1[0], $1[1]) } }

  @Test("the gradient of RMS norm agrees with central differences")
  func rmsNorm() { check(normal([[3, 6], [6]])) { $0.rmsNorm($1[0], $1[1], epsilon: 1e-5) } }

  @Test("the gradient of side-by-side norms agrees with central differences") func sideBySideNorms() {
    check(normal([[3, 6], [6], [3, 4], [4]])) {
      $0.sideBySideNorms([($1[0], $1[1]), ($1[2], $1[3])], epsilon: 1e-5)
    }
  }

  @Test("the gradient of linear added to a residual agrees with central differences") func linearAddedToAResidual() {
    check(normal([[3, 5], [4, 5], [3, 4]])) { $0.linear($1[0], $1[1], addedTo: $1[2]) }
  }

  @Test("the gradient of head norm agrees with central differences")
  func headNorm() { check(normal([[3, 8], [4]])) { $0.headNorm($1[0], $1[1], epsilon: 1e-5) } }

  /// Ids repeat, and one id does not occur.
  @Test("the gradient of embedding agrees with central differences")
  func embedding() { check(normal([[4, 3]])) { $0.embedding($1[0], [2, 0, 2, 1, 2]) } }

  @Test("the gradient of gather agrees with central differences")
  func gather() { check(normal([[5, 3]])) { $0.gather($1[0], [4, 0, 2]) } }

  @Test("the gradient of add agrees with central differences")
  func add() { check(normal([[2, 3], [2, 3]])) { $0.add($1[0], $1[1]) } }

  @Test("the gradient of SwiGLU agrees with central differences")
  func swiglu() { check(normal([[4, 5], [4, 5]])) { $0.swiglu($1[0], $1[1]) } }

  @Test("the gradient of rotary embedding agrees with central differences") func rotary() {
    let rotary = Rotary(headDimension: 4, theta: 100)
    // The operation works in place, hence the copy.
    check(normal([[3, 8]])) {
      $0.rotary($0.gather($1[0], [0, 1, 2]), rotary, rotary.table(positions: [0, 5, 11]))
    }
  }

  /// Rows that see a window of their conversation's keys, and a chain step.
  @Test("the gradient of attention with windows agrees with central differences") func attentionWithWindows() {
    let shape = AttentionShape(heads: 2, kvHeads: 1, headDimension: 4)
    let rows = [(0, 1), (0, 2), (1, 2), (2, 2), (4, 1), (4, 2), (5, 2)].map {
      AttentionRow(prefixStart: $0.0, prefixCount: $0.1)
    }
    check(normal([[7, 8], [7, 4], [7, 4], [7, 4], [7, 4]])) { tape, x in
      tape.attention(
        x[0], x[1], x[2], rows: rows, chain: [ChainLink(k: x[3], v: x[4], row: [0, 1, 2, 3, 4, 5, 6])], shape: shape)
    }
  }

  /// Blocks of two rows, each of which sees both rows of its block.
  @Test("the gradient of attention in blocks agrees with central differences") func attentionInBlocks() {
    let shape = AttentionShape(heads: 4, kvHeads: 2, headDimension: 4)
    let rows = [(0, 2), (0, 2), (3, 1), (3, 1)].map { AttentionRow(prefixStart: $0.0, prefixCount: $0.1) }
    check(normal([[4, 16], [5, 8], [5, 8], [4, 8], [4, 8]])) { tape, x in
      tape.attention(
        x[0], x[1], x[2], rows: rows,
        chain: [[0, 0, 2, 2], [1, 1, 3, 3]].map { ChainLink(k: x[3], v: x[4], row: $0) }, group: 2, shape: shape)
    }
  }

  /// Two conversations of 3 and 2 keys; four query rows; two chain steps, the second with fewer rows.
  @Test("the gradient of attention with chain steps agrees with central differences") func attention() {
    let shape = AttentionShape(heads: 4, kvHeads: 2, headDimension: 4)
    let rows = [(0, 2), (0, 3), (3, 1), (3, 2)].map { AttentionRow(prefixStart: $0.0, prefixCount: $0.1) }
    check(normal([[4, 16], [5, 8], [5, 8], [6, 8], [6, 8], [4, 8], [4, 8]])) { tape, x in
      tape.attention(
        x[0], x[1], x[2], rows: rows,
        chain: [
          ChainLink(k: x[3], v: x[4], row: [1, 2, 4, 5]), ChainLink(k: x[5], v: x[6], row: [0, 1, 2, 3]),
        ], shape: shape)
    }
  }

  @Test(
    "the soft-target loss agrees with its formula, and its gradient with central differences",
    arguments: [
      SoftTargetLoss.kl, .lkAlpha, .lkLambda(decay: 3), .klTV(crossEntropy: 0.1),
      .labelled(crossEntropy: 0.1, distance: 0.9),
    ])
  func softTargetLossAgreesWithDifferencesAndTheFormula(loss: SoftTargetLoss) {
    let (x, w, teacher) = { ($0[0], $0[1], $0[2]) }(normal([[5, 3], [6, 3], [4, 6]], seed: 4))
    for row in 0..<4 {
      let values = (0..<6).map { Double(teacher.floats[row * 6 + $0]) }.map { exp($0) }
      for i in 0..<6 { teacher.floats[row * 6 + i] = Float(values[i] / values.reduce(0, +)) }
    }
    let targets = SoftTargets(
      probabilities: teacher, coverage: [1, 0.5, 1, 0.9], row: [0, 1, 1, 2, 3],
      contributes: [true, true, false, true, true], hit: [0, -1, 3, 4, 5], labels: [2, -1, 0, 5, 1])
    func sums(_ tape: Tape, _ x: Variable, _ w: Variable) -> SoftTargetSums {
      tape.softTargetLoss(x, w, targets, loss, weight: 0.25, chunkRows: 2)
    }
    // The share of a mixed loss is a constant for the gradient, and so for the differences.
    let shares = plainSums(x, w, targets, loss).shares
    let (vx, vw) = (Variable(x, requiresGradient: true), Variable(w, requiresGradient: true))
    let total = sums(Tape(recording: true, precision: .fp32), vx, vw)
    for (variable, tensor) in [(vx, x), (vw, w)] {
      for i in 0..<tensor.count {
        let original = tensor.floats[i]
        tensor.floats[i] = original + 1e-3
        let above = plainSums(x, w, targets, loss, shares: shares).sums.loss
        tensor.floats[i] = original - 1e-3
        let below = plainSums(x, w, targets, loss, shares: shares).sums.loss
        tensor.floats[i] = original
        #expect(abs(0.25 * (above - below) / 2e-3 - Double(variable.gradient!.floats[i])) < 1e-3)
      }
    }
    let expected = plainSums(x, w, targets, loss).sums
    #expect(abs(total.loss - expected.loss) < 1e-5 && abs(total.overlap - expected.overlap) < 1e-5)
    #expect(total.hits == expected.hits)
  }

  @Test("two products that are added up to the logits have the gradients of one over both widths")
  func softTargetsOfTwoProducts() {
    let (x, w, teacher) = { ($0[0], $0[1], $0[2]) }(normal([[5, 7], [6, 7], [4, 6]], seed: 8))
    _ = (0..<4).map { row in
      let values = (0..<6).map { exp(Double(teacher.floats[row * 6 + $0])) }
      for i in 0..<6 { teacher.floats[row * 6 + i] = Float(values[i] / values.reduce(0, +)) }
    }
    let targets = SoftTargets(
      probabilities: teacher, coverage: [1, 0.5, 1, 0.9], row: [0, 1, 1, 2, 3],
      contributes: [true, true, false, true, true], hit: [0, -1, 3, 4, 5], labels: [2, -1, 0, 5, 1])
    let loss = SoftTargetLoss.labelled(crossEntropy: 0.1, distance: 0.9)
    func columns(_ x: Tensor, _ range: Range<Int>) -> Variable {
      Variable(Rows.columns(x, range), requiresGradient: true)
    }
    let (one, two) = (Tape(recording: true, precision: .fp32), Tape(recording: true, precision: .fp32))
    let whole = (Variable(x, requiresGradient: true), Variable(w, requiresGradient: true))
    let parts = [0..<4, 4..<7].map { (x: columns(x, $0), w: columns(w, $0)) }
    let expected = one.softTargetRows([whole], targets, loss, weight: 0.5)
    let counted = two.softTargetRows(parts, targets, loss, weight: 0.5)
    for (a, b) in zip(expected.loss, counted.loss) { #expect(abs(a - b) < 1e-5) }
    for (range, part) in zip([0..<4, 4..<7], parts) {
      for (gradient, own) in [(whole.0.gradient!, part.x), (whole.1.gradient!, part.w)] {
        let reference = Rows.columns(gradient, range).values
        #expect(zip(reference, own.gradient!.values).allSatisfy { abs($0 - $1) < 1e-5 })
      }
    }
  }

  @Test("the gradient of the confidence loss agrees with central differences") func confidenceAgreesWithDifferences() {
    let values = normal([[4, 3], [4, 2], [1, 5], [1]], seed: 9)
    let (targets, weights): ([Float], [Float]) = ([0.1, 0.9, 0.5, 1], [1, 0.5, 2, 0.1])
    func run(_ recording: Bool) -> (loss: Double, variables: [Variable]) {
      let x = values.map { Variable($0, requiresGradient: true) }
      let losses = Tape(recording: recording, precision: .fp32).confidenceLoss(
        [x[0], x[1]], x[2], x[3], targets: targets, weights: weights, weight: 0.25)
      return (zip(losses, weights).reduce(0) { $0 + 0.25 * Double($1.0 * $1.1) }, x)
    }
    for (variable, tensor) in zip(run(true).variables, values) {
      for i in 0..<tensor.count {
        let original = tensor.floats[i]
        tensor.floats[i] = original + 1e-2
        let above = run(false).loss
        tensor.floats[i] = original - 1e-2
        let below = run(false).loss
        tensor.floats[i] = original
        #expect(abs((above - below) / 2e-2 - Double(variable.gradient!.floats[i])) < 1e-4)
      }
    }
  }

  /// The same sums row by row, in double precision, and the share of the divergence in each row's mixed loss.
  private func plainSums(
    _ x: Tensor, _ w: Tensor, _ targets: SoftTargets, _ loss: SoftTargetLoss, shares known: [Double]? = nil
  ) -> (sums: SoftTargetSums, shares: [Double]) {
    var (sums, shares) = (SoftTargetSums(), [Double]())
    for row in 0..<x.rows {
      let z = (0..<6).map { d in
        (0..<3).reduce(0.0) { $0 + Double(x.floats[row * 3 + $1]) * Double(w.floats[d * 3 + $1]) }
      }
      let logSum = log(z.reduce(0) { $0 + exp($1) })
      let q = (0..<6).map { Double(targets.probabilities.floats[Int(targets.row[row]) * 6 + $0]) }
      let coverage = Double(targets.coverage[Int(targets.row[row])])
      let entropy = (0..<6).reduce(0.0) { $0 - q[$1] * (z[$1] - logSum) }
      let acceptance = (0..<6).reduce(0.0) { $0 + min(q[$1] * coverage, exp(z[$1] - logSum)) }
      if case .lkLambda(let decay) = loss { shares.append(known?[row] ?? exp(-Double(decay) * acceptance)) }
      let value =
        switch loss {
        case .kl: entropy
        case .lkAlpha: -log(acceptance)
        case .lkLambda: shares[row] * entropy + (1 - shares[row]) * (1 - acceptance)
        case .klTV(let share): Double(share) * entropy + Double(1 - share) * (1 - acceptance)
        case .labelled(let share, let distance):
          Double(share) * (targets.labels[row] < 0 ? 0 : logSum - z[Int(targets.labels[row])])
            + Double(distance) * (0..<6).reduce(0.0) { $0 + abs(exp(z[$1] - logSum) - q[$1]) }
        }
      if targets.contributes[row] { sums.loss += value }
      sums.overlap += acceptance
      if z.firstIndex(of: z.max()!)! == Int(targets.hit[row]) { sums.hits += 1 }
    }
    return (sums, shares)
  }

  @Test("a value that is used several times gets the sum of its gradients") func aValueUsedTwiceGetsBothGradients() {
    check(normal([[2, 3]])) { $0.add($1[0], $0.add($1[0], $1[0])) }
  }
}

/// The backward pass of attention over more keys than one block.
@Suite struct LongAttentionTests {
  /// 2,500 keys of two conversations; heads with a key head of their own and in groups.
  @Test("gradients of many keys are those of the formula in double precision", arguments: [1, 2])
  func manyKeys(group: Int) {
    let shape = AttentionShape(heads: 2, kvHeads: 2 / group, headDimension: 4)
    var random = RandomSource(seed: 5)
    let rows = [(0, 5), (0, 1020), (0, 1030), (0, 2040), (0, 2100), (2100, 40), (2100, 400)].map {
      AttentionRow(prefixStart: $0.0, prefixCount: $0.1)
    }
    func variable(_ shape: [Int]) -> Variable {
      Variable(.normal(shape, deviation: 1, using: &random), requiresGradient: true)
    }
    let (q, k) = (variable([rows.count, shape.queryWidth]), variable([2500, shape.keyWidth]))
    let (v, tape) = (variable([2500, shape.keyWidth]), Tape(recording: true, precision: .fp32))
    let out = tape.attention(q, k, v, rows: rows, chain: [], shape: shape)
    let probe = Tensor.normal(out.shape, deviation: 1, using: &random)
    tape.seed(out, with: probe)
    tape.backward()
    let expected = formula(q.value, k.value, v.value, rows, shape, probe)
    for (variable, reference) in zip([q, k, v], expected) {
      let values = variable.gradient!.values
      // because: float32 sums of up to 2,100 products of size 1
      #expect(zip(values, reference).allSatisfy { abs(Double($0) - $1) < 2e-5 })
    }
  }

  /// ds_t = p_t (dout · v_t − dout · out)
  private func formula(
    _ q: Tensor, _ k: Tensor, _ v: Tensor, _ rows: [AttentionRow], _ shape: AttentionShape, _ dout: Tensor
  ) -> [[Double]] {
    let d = shape.headDimension
    var (dq, dk) = ([Double](repeating: 0, count: q.count), [Double](repeating: 0, count: k.count))
    var dv = dk
    func dot(_ a: Tensor, _ i: Int, _ b: Tensor, _ j: Int) -> Double {
      (0..<d).reduce(0) { $0 + Double(a.floats[i + $1]) * Double(b.floats[j + $1]) }
    }
    for (r, row) in rows.enumerated() {
      for head in 0..<shape.heads {
        let at = r * shape.queryWidth + head * d
        let keys = (0..<Int(row.prefixCount)).map {
          (Int(row.prefixStart) + $0) * shape.keyWidth + head / shape.groupSize * d
        }
        let weights = keys.map { exp(Double(shape.scale) * dot(q, at, k, $0)) }
        let p = weights.map { $0 / weights.reduce(0, +) }
        let dp = keys.map { dot(dout, at, v, $0) }
        let mean = zip(p, dp).reduce(0) { $0 + $1.0 * $1.1 }
        for (t, key) in keys.enumerated() {
          let ds = Double(shape.scale) * p[t] * (dp[t] - mean)
          for i in 0..<d {
            dq[at + i] += ds * Double(k.floats[key + i])
            dk[key + i] += ds * Double(q.floats[at + i])
            dv[key + i] += p[t] * Double(dout.floats[at + i])
          }
        }
      }
    }
    return [dq, dk, dv]
  }
}
