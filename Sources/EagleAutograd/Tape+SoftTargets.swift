import CEagleKernels
import EagleTensor

// R rows · H hidden · D classes (the draft vocabulary).

/// The distributions that rows are trained towards, and what is counted about them.
package struct SoftTargets {
  /// Distributions over the D classes, one row for each teacher position.
  package let probabilities: Tensor  // [S, D]
  /// The part of the teacher's full-vocabulary probability that lies in the D classes, [S].
  package let coverage: [Float]
  /// The row of `probabilities` for each of the R rows.
  package let row: [Int32]
  /// Whether each row adds to the loss.
  package let contributes: [Bool]
  /// The factor of each row's loss, beside that of all; empty for 1.
  package let weights: [Float]
  /// The class that counts as a hit for each row; -1 when it is not among the D.
  package let hit: [Int32]

  package init(
    probabilities: Tensor, coverage: [Float], row: [Int32], contributes: [Bool], weights: [Float] = [], hit: [Int32]
  ) {
    self.weights = weights
    self.probabilities = probabilities
    self.coverage = coverage
    self.row = row
    self.contributes = contributes
    self.hit = hit
  }
}

/// The loss of a draft's distribution d = softmax(logits) against q, the target's probabilities p among the D classes,
/// with the sum 1, or the acceptance a = Σ min(p, d) that speculative decoding will have (LK losses, arXiv 2602.23881).
package enum SoftTargetLoss: Sendable, Equatable {
  /// CE(q, d), which has the gradient of the Kullback-Leibler divergence.
  case crossEntropy
  /// −log a
  case acceptance
  /// λ CE(q, d) + (1 − λ)(1 − a), with λ = exp(−decay · a) of each row taken as a constant. The paper takes a's mean
  /// over the batch; a row's own keeps the gradient independent of how a batch is cut.
  case mixed(decay: Float)
  /// λ CE(q, d) + (1 − λ)(1 − a) with a λ that stays; 1 − a is the total variation.
  case fixedMix(crossEntropy: Float)
}

/// Sums over rows; divided only after all ranks' sums are added.
package struct SoftTargetSums: Equatable, Sendable {
  package var loss = 0.0
  package var hits = 0.0
  package var overlap = 0.0

  package init() {}
}

extension Tape {
  /// forward: logits = x wᵀ,  loss = weight · Σ over contributing rows of ℓ, with d = softmax(logits)
  ///   ℓ = CE(q, d):  dlogits = weight (d − q)
  ///   ℓ = −log a:  dlogits = weight / a · d (s − m),  m = [d < p],  s = Σ m d,  since da/dlogits = d (m − s)
  ///   ℓ = λ CE(q, d) + (1 − λ)(1 − a), λ decaying or fixed:  dlogits = weight (λ (d − q) + (1 − λ) d (s − m))
  /// backward: dx += dlogits w,  dw += dlogitsᵀ x
  ///
  /// Head and loss are one op over chunks of rows, with the gradient written over the logits, so that [R, D] never
  /// exists. The gradients are added to x and w at once; the returned sums are those without `weight`.
  ///
  /// - Parameters:
  ///   - x: [R, H]
  ///   - w: [D, H]
  ///   - targets: q and p of each row
  ///   - loss: ℓ
  ///   - weight: the factor of every row's loss
  ///   - chunkRows: rows whose logits exist at a time
  package func softTargetLoss(
    _ x: Variable, _ w: Variable, _ targets: SoftTargets, _ loss: SoftTargetLoss = .crossEntropy, weight: Float,
    chunkRows: Int = 512
  ) -> SoftTargetSums {
    var sums = SoftTargetSums()
    let rows = x.value.rows
    precondition(
      targets.row.count == rows && [0, rows].contains(targets.weights.count),
      "\(targets.row.count) targets and \(targets.weights.count) weights for \(rows) rows")
    let (a, b) = (x.operand(mode), w.operand(mode))
    let dx = Tensor(x.shape)
    for first in stride(from: 0, to: rows, by: chunkRows) {
      let range = first..<min(rows, first + chunkRows)
      let logits = Matmul.forward(a.slice(range), b, mode)
      // The gradient as the matmuls take it: rounded while a row of it is in the cache, or in place of the logits.
      let narrow = isRecording && Matmul.takesBFloat16(precision) ? Tensor(logits.shape, dtype: .bfloat16) : nil
      Self.score(logits, range, targets, loss, weight: weight, narrow: narrow, into: &sums)
      guard isRecording else { continue }
      let dy = narrow ?? logits
      Matmul.inputGradient(dy, b, into: dx.slice(range), accumulate: false, precision)
      w.addGradient { dw, accumulate in
        if !accumulate { dw.clear() }
        Matmul.accumulateWeightGradient(dy, a.slice(range), into: dw, precision)
      }
    }
    if isRecording { x.addGradient(giving: dx) }
    return sums
  }

  /// Overwrites the logits of rows `range` by their gradient, writes it rounded to `narrow` as well, and adds up what
  /// is counted, in row order.
  private static func score(
    _ logits: Tensor, _ range: Range<Int>, _ targets: SoftTargets, _ kind: SoftTargetLoss, weight: Float,
    narrow: Tensor?, into sums: inout SoftTargetSums
  ) {
    let columns = logits.columns
    let losses = Tensor([range.count])
    let hits = Tensor([range.count])
    let overlaps = Tensor([range.count])
    Parallel.forEachRange(range.count, grain: 1, dynamic: true) { local in
      for i in local {
        let row = range.lowerBound + i
        let z = logits.floats + i * columns
        let source = Int(targets.row[row])
        hits.floats[i] = eagle_argmax(z, Int64(columns)) == Int64(targets.hit[row]) ? 1 : 0
        let counted = targets.contributes[row]
        let q = targets.probabilities.floats + source * columns
        let factor = counted ? weight * (targets.weights.isEmpty ? 1 : targets.weights[row]) : 0
        let (coverage, overlap) = (targets.coverage[source], overlaps.floats + i)
        let loss =
          switch kind {
          case .crossEntropy: eagle_cross_entropy_row(z, q, Int64(columns), factor, coverage, overlap)
          case .acceptance:
            eagle_acceptance_loss_row(z, q, Int64(columns), factor, coverage, EAGLE_LOG_ACCEPTANCE, 0, overlap)
          case .mixed(let decay):
            eagle_acceptance_loss_row(z, q, Int64(columns), factor, coverage, EAGLE_DECAYING_MIX, decay, overlap)
          case .fixedMix(let share):
            eagle_acceptance_loss_row(z, q, Int64(columns), factor, coverage, EAGLE_FIXED_MIX, share, overlap)
          }
        losses.floats[i] = counted ? loss : 0
        if let narrow { eagle_f32_to_bf16(z, narrow.bfloats + i * columns, Int64(columns)) }
      }
    }
    for i in 0..<range.count {
      sums.loss += Double(losses.floats[i])
      sums.hits += Double(hits.floats[i])
      sums.overlap += Double(overlaps.floats[i])
    }
  }
}
