import EagleModels
import EagleTensor

extension DecodingCosts {
  /// Times target passes of 1 to `mostRows` rows, the passes of a chain and a plain reading of the target's weights behind a text of
  /// `context` tokens, for some seconds.
  ///
  /// They run in turn, and what counts is the median of their ratios to the pass of one row beside them: a machine that others use too may
  /// be slow for a while.
  public static func measure(
    target: TargetModel, draft: DraftModel, context: Int = 256, mostRows: Int = 12
  ) -> DecodingCosts {
    precondition(mostRows > 1, "costs of \(mostRows) rows")
    let context = max(1, min(context, target.shape.maxPositions - mostRows - 8))
    let bench = CostBench(target: target, draft: draft, context: context)
    var (ones, others) = ([Double](), [[Double]](repeating: [], count: mostRows + 1))
    let clock = ContinuousClock()
    let start = clock.now
    while ones.count < 5 || (ones.count < 25 && start.duration(to: clock.now).inSeconds < 3) {
      let one = bench.pass(rows: 1)
      let seconds = (2...mostRows).map { bench.pass(rows: $0) } + [bench.draftPass(), bench.reading()]
      ones.append(one)
      for (i, value) in seconds.enumerated() { others[i].append(value / one) }
    }
    func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
    let one = median(ones)
    let costs = others.map { one * median($0) }
    return DecodingCosts(
      targetPass: [one] + costs.prefix(mostRows - 1), draftPass: costs[mostRows - 1],
      reading: Reading(bytes: target.weightBytes, seconds: costs[mostRows]))
  }
}

/// A text in both caches, to time passes behind it.
private final class CostBench {
  private let target: TargetModel
  private let cache: KVCache
  private let drafter: EagleDrafter
  private let layers: [Int]
  private let clock = ContinuousClock()

  init(target: TargetModel, draft: DraftModel, context: Int) {
    self.target = target
    cache = target.makeCache(capacity: context + 64)
    drafter = EagleDrafter(draft: draft, target: target, capacity: context + 64)
    layers = draft.shape.captureLayers
    let ids = Self.ids(context + 1, target)
    let products = target.precision.products
    let states = target.forward(
      Array(ids.dropLast()), segments: [Segment(rows: 0..<context, cache: cache)], captureLayers: layers, products)
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

  func draftPass() -> Double {
    let start = clock.now
    let proposal = drafter.propose(after: 0, .chain(4), Sampler(.greedy, prompt: []), nil)
    return start.duration(to: clock.now).inSeconds / Double(max(1, proposal.passes))
  }
}
