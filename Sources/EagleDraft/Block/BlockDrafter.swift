import EagleAutograd
import EagleModels
import EagleTensor
import Foundation

// R tokens in the pass · B block size · H hidden · L layers · n captured layers · D draft vocabulary · r Markov rank.

/// A drafter with a block head.
///
/// Its cache has an entry for each position whose states the target has computed: the keys and values of the context in
/// each layer. A round is one pass over the block. The block's own entries are written after those of the context and
/// never become valid.
package final class BlockDrafter: Drafter {
  private let network: BlockNetwork
  private let vocabulary: DraftVocabulary
  private let tables: TargetTables
  private let cache: KVCache
  private let tape: Tape

  init(_ draft: DraftModel, _ network: BlockNetwork, target: TargetModel, capacity: Int) {
    (self.network, vocabulary) = (network, draft.vocabulary)
    tables = draft.tables(of: target)
    tape = Tape(decoding: target.precision)
    cache = draft.makeCache(capacity: capacity, target.cacheFormat)
  }

  package var captureLayers: [Int] { network.shape.captureLayers }
  package var count: Int { cache.count }
  package var cacheBytes: Int { cache.byteCount }
  package func truncate(to count: Int) { cache.truncate(to: count) }
  package func releaseUnused() { cache.releaseUnused() }

  /// The reservation includes positions whose states have not been added yet, and the block's entries.
  package func reserve(_ count: Int) throws {
    try cache.reserve(min(cache.capacity, cache.count + count + DraftPlan.maxNodes + network.shape.blockSize))
  }

  package func extend(_ auxHidden: Tensor, nextTokens: [Int32], _ kind: TargetModel.PassKind) {
    let tape = kind == .prefill ? Tape(recording: false, precision: tape.precision) : tape
    let c = network.context(tape, auxHidden)
    let rows = c.value.rows
    let table = network.rotary.table(positions: (0..<rows).map { Int32(cache.count + $0) })
    for (index, layer) in network.layers.enumerated() {
      let (k, v) = layer.keys(tape, c, table)
      cache.write(index, k.value, v.value, rows: 0..<rows)
    }
    cache.advance(rows)
  }

  package func propose(after token: Int32, plan: DraftPlan, sampler: Sampler, budget: DraftBudget?) throws
    -> Proposal
  {
    guard plan.depth > 0, cache.count > 0, cache.count + network.shape.blockSize <= cache.capacity else {
      return Proposal(after: token)
    }
    var plan = plan
    plan.depth = min(plan.depth, network.shape.proposals)
    if plan.isChain { plan.nodes = plan.depth }
    var growth = DraftGrowth(
      root: token, plan: plan, budget: budget, sampler: sampler, position: cache.count + 1, isOnePass: true)
    let states = block(after: token)
    let logits = tape.linear(states, network.lmHead(tables)).value
    for slot in 0..<plan.depth where slot == 0 || growth.grows {
      let tokens = slot == 0 ? [token] : growth.expandFrontier().tokens
      let row = slot + network.shape.firstRow
      let (corrected, confidence) = self.corrected(logits, states.value, row: row, after: tokens)
      if let confidence, !growth.paysNext(acceptance: confidence[0]) { break }
      try growth.add(children: corrected, vocabulary: vocabulary, acceptance: confidence)
    }
    return growth.proposal()
  }

  /// The normed states of the block's rows, [B, H].
  private func block(after token: Int32) -> Variable {
    let (shape, first) = (network.shape, cache.count)
    let size = shape.blockSize
    let table = network.rotary.table(positions: (0..<size).map { Int32(first + $0) })
    var x = network.inputs([token] + [Int32](repeating: shape.maskToken, count: size - 1), tables)
    for (index, layer) in network.layers.enumerated() {
      let h = layer.normed(tape, x)
      let (k, v) = layer.keys(tape, h, table)
      cache.write(index, k.value, v.value, rows: 0..<size)
      let (keys, values, _) = cache.entries(of: index)
      let seen = [SeenKeys](repeating: SeenKeys(prefix: 0..<first + size, path: []), count: size)
      let q = layer.queries(tape, h, table)
      let attended = Attention.tree(q.value, keys, values, keys: seen, shape: shape.attention)
      x = layer.finish(tape, residual: x, attended: Variable(attended))
    }
    return network.normalized(tape, x)
  }

  /// The logits of a block row after each of some previous tokens, [tokens, D], and its confidence if the head predicts
  /// one.
  private func corrected(
    _ logits: Tensor, _ states: Tensor, row: Int, after tokens: [Int32]
  ) -> (logits: Tensor, confidence: [Double]?) {
    let same = [Int32](repeating: Int32(row), count: tokens.count)
    let rows = Rows.select(logits, same)
    let markov = network.markov(tape, before: tokens)
    if let markov, let head = network.markovHead {
      Elementwise.accumulate(tape.linear(markov, head).value, into: rows)
    }
    let confidence = network.confidence.map {
      Tape.confidenceLogits(
        [Rows.select(states, same)] + (markov.map { [$0.value] } ?? []), $0.w.value, $0.b.value
      ).map { 1 / (1 + exp(-Double($0))) }
    }
    return (rows, confidence)
  }
}
