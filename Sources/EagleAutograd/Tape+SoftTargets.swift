import CEagleKernels
import EagleTensor

// R rows · H hidden · D classes (the draft vocabulary).

/// The distributions that rows are trained towards, and what is counted about them.
package struct SoftTargets {
  /// Distributions over the D classes, one row for each teacher position.
  package let probabilities: Tensor  // [S, D]
  /// The part of the teacher's full-vocabulary probability that is in the D classes, [S].
  package let coverage: [Float]
  /// The row of `probabilities` for each of the R rows.
  package let row: [Int32]
  /// Whether each row adds to the loss.
  package let contributes: [Bool]
  /// The factor of each row's loss, in addition to that of all; empty for 1.
  package let weights: [Float]
  /// The class that counts as a hit for each row; -1 when it is not among the D.
  package let hit: [Int32]
  /// The label of each row for a labelled loss, -1 for none; empty for other losses.
  package let labels: [Int32]

  package init(
    probabilities: Tensor, coverage: [Float], row: [Int32], contributes: [Bool], weights: [Float] = [], hit: [Int32],
    labels: [Int32] = []
  ) {
    self.labels = labels
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
  case kl
  /// −log a
  case lkAlpha
  /// λ CE(q, d) + (1 − λ)(1 − a), with λ = exp(−decay · a) of each row taken as a constant. The paper takes a's mean
  /// over the batch; a row's own keeps the gradient independent of how a batch is divided.
  case lkLambda(decay: Float)
  /// λ CE(q, d) + (1 − λ)(1 − a) with a λ that stays; 1 − a is the total variation.
  case klTV(crossEntropy: Float)
  /// λ CE(label, d) + δ Σ |d − q|
  case labelled(crossEntropy: Float, distance: Float)
}

/// Sums over rows; divided only after all ranks' sums are added.
package struct SoftTargetSums: Equatable, Sendable {
  package var loss = 0.0
  package var hits = 0.0
  package var overlap = 0.0

  package init() {}
}

/// What is counted about each of R rows; without the weights.
package struct SoftTargetRows {
  package let loss, hits, overlap: [Float]

  /// Sums in row order.
  package var sums: SoftTargetSums {
    var sums = SoftTargetSums()
    for i in loss.indices {
      sums.loss += Double(loss[i])
      sums.hits += Double(hits[i])
      sums.overlap += Double(overlap[i])
    }
    return sums
  }
}

extension Tape {
  /// The sums over the rows of `softTargetRows` with one product, logits = x wᵀ.
  package func softTargetLoss(
    _ x: Variable, _ w: Variable, _ targets: SoftTargets, _ loss: SoftTargetLoss = .kl, weight: Float,
    chunkRows: Int = 512
  ) -> SoftTargetSums {
    softTargetRows([(x, w)], targets, loss, weight: weight, chunkRows: chunkRows).sums
  }

  /// forward: logits = Σ x wᵀ,  loss = weight · Σ over contributing rows of ℓ, with d = softmax(logits)
  ///   ℓ = CE(q, d):  dlogits = weight (d − q)
  ///   ℓ = −log a:  dlogits = weight / a · d (s − m),  m = [d < p],  s = Σ m d,  since da/dlogits = d (m − s)
  ///   ℓ = λ CE(q, d) + (1 − λ)(1 − a), λ decaying or fixed:  dlogits = weight (λ (d − q) + (1 − λ) d (s − m))
  ///   ℓ = λ CE(label, d) + δ Σ |d − q|:  dlogits = weight (λ (d − [label]) + 2 δ d (s − m)) with m = [d < q]
  /// backward: dx += dlogits w,  dw += dlogitsᵀ x
  ///
  /// Head and loss are one op over chunks of rows, with the gradient written over the logits, so that [R, D] never
  /// exists. The gradients are added to x and w at once; what is returned has no `weight`.
  ///
  /// - Parameters:
  ///   - terms: products that are added up to the logits, x [R, ·] and w [D, ·] each
  ///   - targets: q and p of each row
  ///   - loss: ℓ
  ///   - weight: the factor of every row's loss
  ///   - chunkRows: rows whose logits exist at a time
  package func softTargetRows(
    _ terms: [(x: Variable, w: Variable)], _ targets: SoftTargets, _ loss: SoftTargetLoss, weight: Float,
    chunkRows: Int = 512
  ) -> SoftTargetRows {
    let rows = terms[0].x.value.rows
    precondition(
      targets.row.count == rows && [0, rows].contains(targets.weights.count)
        && [0, rows].contains(targets.labels.count),
      "\(targets.row.count) targets and \(targets.weights.count) weights for \(rows) rows")
    let operands = terms.map { (a: $0.x.operand(mode), b: $0.w.operand(mode), dx: Tensor($0.x.shape)) }
    let counted = (loss: Tensor([rows]), hits: Tensor([rows]), overlap: Tensor([rows]))
    for first in stride(from: 0, to: rows, by: chunkRows) {
      let range = first..<min(rows, first + chunkRows)
      let logits = Matmul.forward(operands[0].a.slice(range), operands[0].b, mode)
      for term in operands.dropFirst() { Matmul.accumulate(term.a.slice(range), term.b, into: logits, mode) }
      // The gradient as the matmuls read it: rounded while a row of it is in the cache, or written over the logits.
      let narrow = isRecording && Matmul.takesBFloat16(precision) ? Tensor(logits.shape, dtype: .bfloat16) : nil
      Self.score(logits, range, targets, loss, weight: weight, narrow: narrow, counted)
      guard isRecording else { continue }
      let dy = narrow ?? logits
      for (term, operand) in zip(terms, operands) {
        if term.x.requiresGradient {
          Matmul.inputGradient(dy, operand.b, into: operand.dx.slice(range), accumulate: false, precision)
        }
        term.w.addGradient { dw, accumulate in
          if !accumulate { dw.clear() }
          Matmul.accumulateWeightGradient(dy, operand.a.slice(range), into: dw, precision)
        }
      }
    }
    if isRecording { for (term, operand) in zip(terms, operands) { term.x.addGradient(giving: operand.dx) } }
    return SoftTargetRows(loss: counted.loss.values, hits: counted.hits.values, overlap: counted.overlap.values)
  }

  /// Overwrites the logits of rows `range` by their gradient, writes it rounded to `narrow` as well, and notes what is
  /// counted of each row.
  private static func score(
    _ logits: Tensor, _ range: Range<Int>, _ targets: SoftTargets, _ kind: SoftTargetLoss, weight: Float,
    narrow: Tensor?, _ counted: (loss: Tensor, hits: Tensor, overlap: Tensor)
  ) {
    let columns = logits.columns
    Parallel.forEachRange(range.count, grain: 1, dynamic: true) { local in
      for i in local {
        let row = range.lowerBound + i
        let z = logits.floats + i * columns
        let source = Int(targets.row[row])
        counted.hits.floats[row] = eagle_argmax(z, Int64(columns)) == Int64(targets.hit[row]) ? 1 : 0
        let contributes = targets.contributes[row]
        let q = targets.probabilities.floats + source * columns
        let factor = contributes ? weight * (targets.weights.isEmpty ? 1 : targets.weights[row]) : 0
        let (coverage, overlap) = (targets.coverage[source], counted.overlap.floats + row)
        let loss =
          switch kind {
          case .kl: eagle_cross_entropy_row(z, q, Int64(columns), factor, coverage, overlap)
          case .lkAlpha:
            eagle_acceptance_loss_row(z, q, Int64(columns), factor, coverage, EAGLE_LOG_ACCEPTANCE, 0, overlap)
          case .lkLambda(let decay):
            eagle_acceptance_loss_row(z, q, Int64(columns), factor, coverage, EAGLE_DECAYING_MIX, decay, overlap)
          case .klTV(let share):
            eagle_acceptance_loss_row(z, q, Int64(columns), factor, coverage, EAGLE_FIXED_MIX, share, overlap)
          case .labelled(let share, let distance):
            eagle_labelled_loss_row(
              z, q, Int64(columns),
              eagle_labelled_loss(label: Int64(targets.labels[row]), entropy: share, distance: distance), factor,
              coverage, overlap)
          }
        counted.loss.floats[row] = contributes ? loss : 0
        if let narrow { eagle_f32_to_bf16(z, narrow.bfloats + i * columns, Int64(columns)) }
      }
    }
  }
}
