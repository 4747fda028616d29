import CEagleKernels
import EagleTensor
import Foundation

// R rows · C columns of all parts.

extension Tape {
  /// forward: c = (x₀, x₁, …) · w + b,  ℓ = −α log σ(c) − (1 − α) log(1 − σ(c)), σ the sigmoid
  ///   loss = Σ weight · weights · ℓ
  /// backward: dc = weight · weights (σ(c) − α),  dx = dc w,  dw += Σ dc x,  db += Σ dc
  ///
  /// The gradients are added at once, as those of `softTargetRows`.
  ///
  /// - Parameters:
  ///   - parts: columns of each row, [R, ·] each, C together
  ///   - w: [1, C]
  ///   - b: [1]
  ///   - targets: α of each row, which takes no gradient
  ///   - weights: the factor of each row's loss
  ///   - weight: the factor of all
  /// - Returns: ℓ of each row
  package func confidenceLoss(
    _ parts: [Variable], _ w: Variable, _ b: Variable, targets: [Float], weights: [Float], weight: Float
  ) -> [Float] {
    let rows = targets.count
    let logits = Self.confidenceLogits(parts.map(\.value), w.value, b.value)
    var (losses, dc) = ([Float](repeating: 0, count: rows), [Float](repeating: 0, count: rows))
    for row in 0..<rows {
      let c = logits[row]
      // log(1 + exp(c)) − α c, which does not overflow.
      losses[row] = max(c, 0) + log1p(exp(-abs(c))) - targets[row] * c
      dc[row] = weight * weights[row] * (1 / (1 + exp(-c)) - targets[row])
    }
    guard isRecording else { return losses }
    var column = 0
    w.addGradient { dw, accumulate in if !accumulate { dw.clear() } }
    for part in parts {
      let (width, first) = (part.value.columns, column)
      part.addGradient { dx, accumulate in
        if !accumulate { dx.clear() }
        for row in 0..<rows { eagle_add_scaled(dx.floats + row * width, dc[row], w.value.floats + first, Int64(width)) }
      }
      w.addGradient { dw, _ in
        for row in 0..<rows {
          eagle_add_scaled(dw.floats + first, dc[row], part.value.floats + row * width, Int64(width))
        }
      }
      column += width
    }
    b.addGradient { db, accumulate in db.floats[0] = (accumulate ? db.floats[0] : 0) + dc.reduce(0, +) }
    return losses
  }

  /// c of each row, as `confidenceLoss` has it.
  package static func confidenceLogits(_ parts: [Tensor], _ w: Tensor, _ b: Tensor) -> [Float] {
    let (w, b) = (w.float32(), b.float32())
    precondition(parts.reduce(0) { $0 + $1.columns } == w.count, "\(w.count) weights for parts of other widths")
    return (0..<parts[0].rows).map { row in
      var (sum, column) = (b.floats[0], 0)
      for part in parts {
        sum += eagle_dot(part.floats + row * part.columns, w.floats + column, Int64(part.columns))
        column += part.columns
      }
      return sum
    }
  }
}
