import EagleDraft
import EagleModels
import EagleTensor

extension DecodingCosts {
  /// Times target passes over 1 to `maxTokens` tokens, the draft passes of a chain, and a plain reading of the target's
  /// weights. The passes follow a sequence of `context` tokens, and take some seconds in all.
  ///
  /// They run interleaved, and each time is the median of the ratios to the one-token pass of the same repetition: a
  /// machine with other users may be slow for a while.
  ///
  /// - Throws: `GenerationError` for a draft head whose logits are not finite
  public static func measure(
    target: TargetModel, draft: DraftModel, context: Int = 256, maxTokens: Int = 12
  ) throws -> DecodingCosts {
    precondition(maxTokens > 1, "costs of \(maxTokens) tokens")
    let context = max(1, min(context, target.shape.maxPositions - maxTokens - 8))
    let bench = CostBench(target: target, draft: draft, context: context)
    let counts = Array(2...maxTokens)
    let medians = try bench.medians(
      counts.map { count in { bench.pass(tokens: count) } } + [bench.draftPass, bench.reading]
    ) {
      $0 < 5 || ($0 < 25 && $1 < 3)
    }
    return DecodingCosts(
      targetPass: [medians.one] + medians.others.prefix(counts.count), draftPass: medians.others[counts.count],
      reading: Reading(bytes: target.weightBytes, seconds: medians.others[counts.count + 1]))
  }

  /// Times target and draft passes within about `seconds`, fewer of them than `measure`. A program calls it at its
  /// start if nothing was tuned.
  ///
  /// A large model is timed on some of its layers: weights of 400 MB and more come from memory, as those of the whole
  /// model do, and the time of a pass is proportional to their bytes.
  ///
  /// - Parameters:
  ///   - target: the model whose passes are timed
  ///   - draft: the head whose passes are timed
  ///   - context: the number of tokens before the passes
  ///   - weights: the format that the target's matrices are quantised to first; the head is taken as it is
  ///   - seconds: the approximate time for which passes are repeated
  /// - Throws: `GenerationError` for a draft head whose logits are not finite
  public static func estimate(
    target: TargetModel, draft: DraftModel, context: Int = 32, weights: WeightFormat = .stored, seconds: Double = 0.35
  ) throws -> DecodingCosts {
    var part = target.part(atLeast: partBytes, layers: draft.shape.captureLayers.count)
    if weights != .stored { part.model = part.model.quantized(weights) }
    let counts = [2, 3, 4, 6, 8, 12]
    let context = max(1, min(context, target.shape.maxPositions - 20))
    let bench = CostBench(target: part.model, draft: draft, context: context, layers: target.shape.layers)
    let medians = try bench.medians(counts.map { count in { bench.pass(tokens: count) } } + [bench.draftPass]) {
      $0 < 2 || ($0 < 9 && $1 < seconds)
    }
    let known = [1: medians.one].merging(zip(counts, medians.others)) { $1 }
    let whole = 1 / part.share
    return DecodingCosts(
      targetPass: interpolated(known, to: 12).map { $0 * whole }, draftPass: medians.others[counts.count])
  }

  private static let partBytes = 400_000_000

  /// The bytes of weights that the passes of `measure` over 1 to `maxTokens` tokens read, with the experts that these
  /// tokens touch.
  package static func bytesRead(target: TargetModel, maxTokens: Int) -> [Int] {
    let dense = target.weightBytes - target.expertBytesPerToken
    return (1...maxTokens).map { count in
      let before = target.expertBytesRead
      _ = target.decode(CostBench.ids(count, target), segments: [Segment(rows: 0..<count)], captureLayers: [])
      return dense + target.expertBytesRead - before
    }
  }

  /// The values at 1 to `count`, interpolated linearly between those that are known.
  static func interpolated(_ known: [Int: Double], to count: Int) -> [Double] {
    let points = known.sorted { $0.key < $1.key }
    return (1...count).map { index in
      guard let high = points.first(where: { $0.key >= index }), let low = points.last(where: { $0.key <= index }),
        low.key < high.key
      else { return known[index] ?? 0 }
      return low.value + (high.value - low.value) * Double(index - low.key) / Double(high.key - low.key)
    }
  }
}
