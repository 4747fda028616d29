import CEagleKernels
import EagleAutograd
import EagleDraft
import EagleModels
import EagleTensor
import Foundation

/// AdamW with float32 master weights, over one flat buffer, of which the head's tensors are slices.
///
/// m = β₁ m + (1 − β₁) g,  v = β₂ v + (1 − β₂) g²,
/// w = w (1 − lr · decay) − lr · r · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)
///
/// with a rate r of 1, except for columns of the feature matrix with their own rates.
package final class AdamW {
  package static let epsilon: Float = 1e-8

  /// The head, whose weights are slices of the flat buffer.
  package let draft: DraftModel
  package let weights: Tensor  // [P]
  package let gradients: Tensor  // [P]
  /// First moments of the owned weights, one range after the other: [P], or the shard's size.
  package private(set) var firstMoment: Tensor
  /// Second moments of the weights that `apply` steps, one range after the other.
  package private(set) var secondMoment: Tensor
  /// The part of the flat buffer that this optimiser steps; all of it unless `own` says otherwise.
  package private(set) var owned: [Range<Int>]
  /// The ranges that `apply` updates: the owned weights without those of `leaveOut`. Each range is in one of `owned`.
  private var stepped: [Range<Int>]
  /// The slice of the flat buffers of each parameter.
  let slices: [(name: String, variable: Variable, range: Range<Int>)]
  /// The factor of the learning rate of each column of `fc`, a feature of the target's states: [n H_t]; nil for 1
  /// everywhere.
  package var featureRates: Tensor?
  let config: TrainConfig

  /// Copies the draft's weights into the flat buffer.
  package init(_ start: DraftModel, config: TrainConfig) {
    let count = start.parameterCount
    self.config = config
    weights = Tensor([count])
    (owned, stepped) = ([0..<count], [0..<count])
    (gradients, firstMoment, secondMoment) = (.zeros([count]), .zeros([count]), .zeros([count]))
    var tensors: [String: Tensor] = [:]
    var at = 0
    for parameter in start.parameters {
      let slice = weights.slice(at..<at + parameter.variable.value.count)
      Elementwise.copy(parameter.variable.value.float32(), into: slice)
      tensors[parameter.name] = slice.reshaped(parameter.variable.shape)
      at += slice.count
    }
    draft = DraftModel(shape: start.shape, vocabulary: start.vocabulary, tensors: tensors, trainable: true)
    at = 0
    slices = draft.parameters.map { parameter in
      let range = at..<at + parameter.variable.value.count
      at = range.upperBound
      return (parameter.name, parameter.variable, range)
    }
    // Every parameter adds its gradient to a slice of the flat buffer.
    for slice in slices {
      slice.variable.adoptGradient(gradients.slice(slice.range).reshaped(slice.variable.shape))
    }
  }

  /// Restricts this rank to these weights and frees the moments of all others, which other ranks update (ZeRO-1). Call
  /// it before the first step.
  func own(_ ranges: [Range<Int>]) {
    (owned, stepped) = (ranges, ranges)
    let count = ranges.reduce(0) { $0 + $1.count }
    (firstMoment, secondMoment) = (.zeros([count]), .zeros([count]))
  }

  /// Excludes weights, in ascending ranges, which another optimiser updates, and frees their second moments. Call it
  /// before the first step, and only if this optimiser owns all weights.
  func leaveOut(_ ranges: [Range<Int>]) {
    precondition(owned == [0..<weights.count], "weights are left out of \(owned.count) ranges of \(weights.count)")
    let bounds = [0] + ranges.flatMap { [$0.lowerBound, $0.upperBound] } + [weights.count]
    stepped = stride(from: 0, to: bounds.count, by: 2).map { bounds[$0]..<bounds[$0 + 1] }.filter { !$0.isEmpty }
    secondMoment = .zeros([stepped.reduce(0) { $0 + $1.count }])
  }

  /// Calls `body` with each owned part of `range`, and the range of its first moments.
  func forEachOwned(in range: Range<Int>, _ body: (_ part: Range<Int>, _ first: Range<Int>) throws -> Void) rethrows {
    try Self.forEach(of: owned, in: range, body)
  }

  /// Calls `body` with each part of `range` that `apply` updates, and the range of its second moments.
  func forEachStepped(
    in range: Range<Int>, _ body: (_ part: Range<Int>, _ second: Range<Int>) throws -> Void
  ) rethrows {
    try Self.forEach(of: stepped, in: range, body)
  }

  /// Calls `body` with each part of `range` in `stored`, and its position in the concatenation of these ranges.
  private static func forEach(
    of stored: [Range<Int>], in range: Range<Int>, _ body: (_ part: Range<Int>, _ at: Range<Int>) throws -> Void
  ) rethrows {
    var base = 0
    for whole in stored {
      let part = whole.clamped(to: range)
      if !part.isEmpty {
        let first = base + part.lowerBound - whole.lowerBound
        try body(part, first..<first + part.count)
      }
      base += whole.count
    }
  }

  /// The second moments of a parameter, [n], if this optimiser owns all weights; nil for an excluded parameter.
  func secondMoment(of parameter: Range<Int>) -> Tensor? {
    var moments: Tensor?
    forEachStepped(in: parameter) { _, second in moments = secondMoment.slice(second) }
    return moments
  }

  /// Sets every gradient to 0.
  package func clearGradients() { gradients.clear() }

  /// Notifies the head that the flat weights have changed.
  func weightsHaveChanged() {
    for parameter in draft.parameters { parameter.variable.valueHasChanged() }
  }

  /// Euclidean norm of all gradients, if this optimiser owns all weights.
  package func gradientNorm() -> Double { sumOfSquares(owned).squareRoot() }

  /// The sum of squares of the gradients in these ranges, in a fixed order of summation.
  func sumOfSquares(_ ranges: [Range<Int>]) -> Double {
    let chunks = ranges.flatMap { range in
      stride(from: range.lowerBound, to: range.upperBound, by: 1 << 16).map { $0..<min(range.upperBound, $0 + 1 << 16) }
    }
    var sums = [Double](repeating: 0, count: chunks.count)
    sums.withUnsafeMutableBufferPointer { sums in
      let sums = sums
      Parallel.forEachRange(sums.count, grain: 1, dynamic: true) { range in
        for i in range {
          sums[i] = eagle_sum_of_squares(gradients.floats + chunks[i].lowerBound, Int64(chunks[i].count))
        }
      }
    }
    return sums.reduce(0, +)
  }

  /// One step of the owned weights with the accumulated gradients, scaled down to the clip norm.
  ///
  /// - Parameters:
  ///   - step: number of this step, from 1
  ///   - learningRate: the learning rate of this step
  ///   - norm: the gradients' norm
  package func apply(step: Int, learningRate: Double, norm: Double) {
    let scale = gradientScale(norm: norm)
    var settings = eagle_adamw(
      learning_rate: Float(learningRate), beta1: Float(config.beta1), beta2: Float(config.beta2), epsilon: Self.epsilon,
      weight_decay: Float(config.weightDecay), rest1: Float(1 - config.beta1), rest2: Float(1 - config.beta2),
      correction1: Float(1 - pow(config.beta1, Double(step))),
      correction2: Float(1 - pow(config.beta2, Double(step))), gradient_scale: scale)
    withUnsafePointer(to: &settings) { settings in
      forEachStepped(in: 0..<weights.count) { part, second in
        forEachOwned(in: part) { _, first in
          update(part, settings, first: first.lowerBound, second: second.lowerBound)
        }
      }
    }
    weightsHaveChanged()
  }

  /// - Parameters:
  ///   - first: the offset of the part's first moments
  ///   - second: the offset of its second moments
  private func update(_ part: Range<Int>, _ settings: UnsafePointer<eagle_adamw>, first: Int, second: Int) {
    Parallel.forEachRange(part.count, grain: 1 << 14) { range in
      let range = part.lowerBound + range.lowerBound..<part.lowerBound + range.upperBound
      forEachRated(in: range) { run, rates in
        let at = run.lowerBound - part.lowerBound
        eagle_adamw_step(
          settings, weights.floats + run.lowerBound, gradients.floats + run.lowerBound,
          firstMoment.floats + first + at, secondMoment.floats + second + at, rates, Int64(run.count))
      }
    }
  }

  /// The factor that limits gradients to the clip norm, as in torch.nn.utils.clip_grad_norm_.
  func gradientScale(norm: Double) -> Float { Float(min(1, config.clipNorm / (norm + 1e-6))) }

  /// Splits a range of weights into parts outside the feature matrix, which have no rates, and parts of its rows.
  private func forEachRated(in range: Range<Int>, _ body: (Range<Int>, _ rates: UnsafePointer<Float>?) -> Void) {
    guard let featureRates else { return body(range, nil) }
    let rated = slices.first { $0.name == draft.shape.featureMatrix }!.range
    let (before, after) = (
      range.clamped(to: 0..<rated.lowerBound), range.clamped(to: rated.upperBound..<weights.count)
    )
    if !before.isEmpty { body(before, nil) }
    var at = max(range.lowerBound, rated.lowerBound)
    while at < min(range.upperBound, rated.upperBound) {
      let column = (at - rated.lowerBound) % featureRates.count
      let end = min(at + featureRates.count - column, range.upperBound, rated.upperBound)
      body(at..<end, UnsafePointer(featureRates.floats + column))
      at = end
    }
    if !after.isEmpty { body(after, nil) }
  }
}
