import EagleDraft
import EagleModels
import EagleTensor

// H hidden.

/// A sequence in both caches, after which passes are timed.
final class CostBench {
  private let target: TargetModel
  private let cache: KVCache
  private let drafter: any Drafter
  private let layers: [Int]
  private let longestDraft: Int?
  /// The captured states of the last token, [1, nH].
  private let newest: Tensor
  private let clock = ContinuousClock()

  /// - Parameter layers: the number of layers of the whole model if the target is a part of it: captured layers are
  ///   counted in the whole model
  init(target: TargetModel, draft: DraftModel, context: Int, layers: Int? = nil) {
    self.target = target
    longestDraft = draft.shape.longestDraft
    cache = target.makeCache(capacity: context + 64)
    drafter = draft.makeDrafter(target: target, capacity: context + DraftPlan.maxNodes)
    let isPart = layers.map { $0 > target.shape.layers } ?? false
    self.layers = isPart ? Array(0..<draft.shape.captureLayers.count) : draft.shape.captureLayers
    let ids = Self.ids(context + 1, target)
    let states = target.prefill(
      Array(ids.dropLast()), segments: [Segment(rows: 0..<context, cache: cache)], captureLayers: self.layers)
    guard let aux = states.auxHidden else { preconditionFailure("no states of layers \(self.layers)") }
    newest = aux.slice(context - 1..<context)
    drafter.extend(aux, nextTokens: Array(ids.dropFirst()), .prefill)
  }

  /// Token ids spread over the vocabulary.
  static func ids(_ count: Int, _ target: TargetModel) -> [Int32] {
    (0..<count).map { Int32($0 * 7919 % target.shape.vocabularySize) }
  }

  /// The seconds of a target pass.
  func pass(tokens: Int) -> Double {
    let (ids, base) = (Self.ids(tokens, target), cache.count)
    let start = clock.now
    let states = target.decode(ids, segments: [Segment(rows: 0..<tokens, cache: cache)], captureLayers: layers)
    _ = target.logits(states.lastHidden)
    let seconds = start.duration(to: clock.now).inSeconds
    cache.truncate(to: base)
    return seconds
  }

  /// The seconds to read the target's weights, without computation.
  func reading() -> Double {
    let start = clock.now
    withExtendedLifetime(target.readWeights()) {}
    return start.duration(to: clock.now).inSeconds
  }

  /// The mean seconds of a draft pass in a round: of two passes, the first of which adds the newest position, or of the
  /// one pass that drafts a whole block.
  func draftPass() throws -> Double {
    let start = clock.now
    drafter.extend(newest, nextTokens: [0], .decode)
    let proposal = try drafter.propose(
      after: 0, plan: .chain(longestDraft ?? 2), sampler: Sampler(.greedy, prompt: []), budget: nil)
    let seconds = start.duration(to: clock.now).inSeconds
    drafter.truncate(to: drafter.count - 1)
    return seconds / Double(max(1, proposal.passes))
  }

  /// The median time of a pass of one token, and that of other passes by the median of their ratios to the one-token
  /// pass of the same repetition.
  ///
  /// - Parameter goesOn: decides by the number of repetitions and the seconds so far
  func medians(
    _ others: [() throws -> Double], while goesOn: (Int, Double) -> Bool
  ) throws -> (one: Double, others: [Double]) {
    _ = pass(tokens: 2)  // the first one allocates
    _ = try draftPass()
    var (ones, ratios) = ([Double](), [[Double]](repeating: [], count: others.count))
    let start = clock.now
    while goesOn(ones.count, start.duration(to: clock.now).inSeconds) {
      let one = pass(tokens: 1)
      ones.append(one)
      for (index, other) in others.enumerated() { ratios[index].append(try other() / one) }
    }
    func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
    let one = median(ones)
    return (one, ratios.map { one * median($0) })
  }
}
