import EagleModels
import EagleTensor

extension DecodingCosts {
  /// Times target passes of 1 to `mostRows` rows, the passes of a chain and a plain reading of the target's weights
  /// behind a text of `context` tokens, for some seconds.
  ///
  /// They run interleaved, and what counts is the median of their ratios to the pass of one row beside them: a machine
  /// that others use too may be slow for a while.
  ///
  /// - Throws: `GenerationError` for a draft head whose logits are not finite
  public static func measure(
    target: TargetModel, draft: DraftModel, context: Int = 256, mostRows: Int = 12
  ) throws -> DecodingCosts {
    precondition(mostRows > 1, "costs of \(mostRows) rows")
    let context = max(1, min(context, target.shape.maxPositions - mostRows - 8))
    let bench = CostBench(target: target, draft: draft, context: context)
    let rows = Array(2...mostRows)
    let medians = try bench.medians(rows.map { row in { bench.pass(rows: row) } } + [bench.draftPass, bench.reading]) {
      $0 < 5 || ($0 < 25 && $1 < 3)
    }
    return DecodingCosts(
      targetPass: [medians.one] + medians.others.prefix(rows.count), draftPass: medians.others[rows.count],
      reading: Reading(bytes: target.weightBytes, seconds: medians.others[rows.count + 1]))
  }

  /// The same within `seconds`, from fewer passes: what a program measures at its start where nothing was tuned.
  ///
  /// A model whose passes take so long that they would not fit is timed on some of its layers: weights of 400 MB
  /// and more come from memory, as those of the whole model do, and a pass takes as long as they have bytes.
  ///
  /// - Throws: `GenerationError` for a draft head whose logits are not finite
  public static func estimate(
    target: TargetModel, draft: DraftModel, seconds: Double = 0.35
  ) throws -> DecodingCosts {
    let part = target.part(atLeast: partBytes)
    let rows = [2, 3, 4, 6, 8, 12]
    let context = max(1, min(32, target.shape.maxPositions - 20))
    let bench = CostBench(target: part.model, draft: draft, context: context, layers: target.shape.layers)
    let medians = try bench.medians(rows.map { row in { bench.pass(rows: row) } } + [bench.draftPass]) {
      $0 < 2 || ($0 < 9 && $1 < seconds)
    }
    let known = [1: medians.one].merging(zip(rows, medians.others)) { $1 }
    let whole = 1 / part.share
    return DecodingCosts(
      targetPass: interpolated(known, to: 12).map { $0 * whole }, draftPass: medians.others[rows.count])
  }

  private static let partBytes = 400_000_000

  /// Values at 1 to `count`, in straight lines between those that are known.
  static func interpolated(_ known: [Int: Double], to count: Int) -> [Double] {
    (1...count).map { at in
      if let value = known[at] { return value }
      let (low, high) = (known.keys.filter { $0 < at }.max()!, known.keys.filter { $0 > at }.min()!)
      return known[low]! + (known[high]! - known[low]!) * Double(at - low) / Double(high - low)
    }
  }
}

/// A text in both caches, to time passes behind it.
private final class CostBench {
  private let target: TargetModel
  private let cache: KVCache
  private let drafter: EagleDrafter
  private let layers: [Int]
  /// Captured states of the last row, [1, 3H].
  private let newest: Tensor
  private let clock = ContinuousClock()

  /// - Parameter layers: of the whole model, where the target is a part of it: captured layers are counted there
  init(target: TargetModel, draft: DraftModel, context: Int, layers: Int? = nil) {
    self.target = target
    cache = target.makeCache(capacity: context + 64)
    drafter = EagleDrafter(draft: draft, target: target, capacity: context + DraftPlan.mostNodes)
    let isPart = layers.map { $0 > target.shape.layers } ?? false
    self.layers = isPart ? Array(0..<draft.shape.captureLayers.count) : draft.shape.captureLayers
    let ids = Self.ids(context + 1, target)
    let products = target.precision.products
    let states = target.forward(
      Array(ids.dropLast()), segments: [Segment(rows: 0..<context, cache: cache)], captureLayers: self.layers, products)
    newest = states.auxHidden!.slice(context - 1..<context)
    drafter.extend(states.auxHidden!, nextTokens: Array(ids.dropFirst()), products)
  }

  /// Tokens from all over the vocabulary.
  private static func ids(_ count: Int, _ target: TargetModel) -> [Int32] {
    (0..<count).map { Int32($0 * 7919 % target.shape.vocabularySize) }
  }

  func pass(rows: Int) -> Double {
    let (ids, base, products) = (Self.ids(rows, target), cache.count, target.precision.decodingProducts)
    let start = clock.now
    let states = target.forward(
      ids, segments: [Segment(rows: 0..<rows, cache: cache)], captureLayers: layers, products)
    _ = target.logits(states.lastHidden, products)
    let seconds = start.duration(to: clock.now).inSeconds
    cache.truncate(to: base)
    return seconds
  }

  func reading() -> Double {
    let start = clock.now
    withExtendedLifetime(target.readWeights()) {}
    return start.duration(to: clock.now).inSeconds
  }

  /// Of the two passes of a round: one adds the newest position, which every round does.
  func draftPass() throws -> Double {
    let start = clock.now
    drafter.extend(newest, nextTokens: [0], target.precision.decodingProducts)
    let proposal = try drafter.propose(after: 0, .chain(2), Sampler(.greedy, prompt: []), nil)
    let seconds = start.duration(to: clock.now).inSeconds
    drafter.truncate(to: drafter.count - 1)
    return seconds / Double(max(1, proposal.passes))
  }

  /// The median of a pass of one row, and of others by their ratio to one that ran beside them.
  ///
  /// - Parameter goesOn: with the number of turns and the seconds so far
  func medians(
    _ others: [() throws -> Double], while goesOn: (Int, Double) -> Bool
  ) throws -> (one: Double, others: [Double]) {
    _ = pass(rows: 2)  // the first one allocates
    _ = try draftPass()
    var (ones, ratios) = ([Double](), [[Double]](repeating: [], count: others.count))
    let start = clock.now
    while goesOn(ones.count, start.duration(to: clock.now).inSeconds) {
      let one = pass(rows: 1)
      ones.append(one)
      for (index, other) in others.enumerated() { ratios[index].append(try other() / one) }
    }
    func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
    let one = median(ones)
    return (one, ratios.map { one * median($0) })
  }
}
