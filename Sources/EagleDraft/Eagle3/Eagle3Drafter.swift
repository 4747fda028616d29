import EagleAutograd
import EagleModels
import EagleTensor

// R tokens in the pass · H hidden · D draft vocabulary.

/// A drafter with an EAGLE-3 head.
///
/// Entry p of its cache is computed from the target's own states at p and the token at p + 1, as at step 0 of training.
/// The entries of a proposal follow these and are dropped at the end of the round.
package final class Eagle3Drafter: Drafter {
  private let network: Eagle3Network
  private let vocabulary: DraftVocabulary
  private let tables: TargetTables
  private let cache: KVCache
  private let tape: Tape
  /// The newest entry: its hidden state g_0 [1, H] and the layer's input [1, 2H], from which queries are made.
  private var newest: (g: Variable, h: Variable)?

  init(_ draft: DraftModel, _ network: Eagle3Network, target: TargetModel, capacity: Int) {
    self.network = network
    vocabulary = draft.vocabulary
    tables = draft.tables(of: target)
    tape = Tape(decoding: target.precision)
    cache = draft.makeCache(capacity: capacity, target.cacheFormat)
  }

  package var captureLayers: [Int] { network.shape.captureLayers }

  package var count: Int { cache.count }

  package var cacheBytes: Int { cache.byteCount }

  package func truncate(to count: Int) { cache.truncate(to: count) }

  /// The reservation includes the entries of a round's draft passes.
  package func reserve(_ count: Int) throws {
    try cache.reserve(min(cache.capacity, cache.count + count + 2 * DraftPlan.maxNodes))
  }

  package func releaseUnused() { cache.releaseUnused() }

  package func extend(_ auxHidden: Tensor, nextTokens: [Int32], _ kind: TargetModel.PassKind) {
    let tape = kind == .prefill ? Tape(recording: false, precision: tape.precision) : tape
    let g = network.project(tape, auxHidden)
    let h = appendKeys(tape, g, nextTokens, positions: nextTokens.indices.map { cache.count + $0 })
    let last = g.value.rows - 1..<g.value.rows
    newest = (Variable(g.value.slice(last)), Variable(h.value.slice(last)))
  }

  package func propose(after token: Int32, plan: DraftPlan, sampler: Sampler, budget: DraftBudget?) throws
    -> Proposal
  {
    let verified = cache.count
    defer { cache.truncate(to: verified) }
    guard let newest, plan.depth > 0 else { return Proposal(after: token) }
    var growth = DraftGrowth(root: token, plan: plan, budget: budget, sampler: sampler, position: verified + 1)
    var hidden = finish(newest.g, newest.h, verified: verified)
    try growth.add(children: logits(hidden), vocabulary: vocabulary)
    while growth.grows {
      hidden = extend(growth.expandFrontier(), hidden, verified: verified)
      try growth.add(children: logits(hidden), vocabulary: vocabulary)
    }
    return growth.proposal()
  }

  /// The draft pass over the newest token, whose entry is in the cache. Returns its hidden state [1, H].
  private func finish(_ g: Variable, _ h: Variable, verified: Int) -> Variable {
    attend(g, h, positions: [verified - 1], verified: verified, paths: [[]])
  }

  /// A draft pass over the frontier: each node is computed from the state that its parent's pass yielded. Returns
  /// hidden states [R, H].
  private func extend(_ frontier: DraftGrowth.Frontier, _ hidden: Variable, verified: Int) -> Variable {
    let g = Variable(Rows.select(hidden.value, frontier.parentRows))
    let positions = frontier.tokens.map { _ in verified - 1 + frontier.depth }
    let h = appendKeys(tape, g, frontier.tokens, positions: positions)
    return attend(g, h, positions: positions, verified: verified, paths: frontier.entryPaths)
  }

  /// Attention of rows at these positions over the verified entries (with a window, the last of them) and the entries
  /// of their paths, and the rest of the layer. Returns hidden states [R, H].
  private func attend(
    _ g: Variable, _ h: Variable, positions: [Int], verified: Int, paths: [[Int]]
  ) -> Variable {
    let q = network.queries(tape, h, network.rotary.table(positions: positions.map(Int32.init)))
    let (keys, values, _) = cache.entries(of: 0)
    let seen = zip(positions, paths).map { position, path in
      let first = network.shape.variant.window.map { max(0, position - $0 + 1) } ?? 0
      let near = network.shape.variant.window.map { path.suffix($0) } ?? path[...]
      return SeenKeys(prefix: min(first, verified)..<verified, path: near.map { verified + $0 })
    }
    let attended = Attention.tree(q.value, keys, values, keys: seen, shape: network.shape.attention)
    return network.finish(tape, hidden: g, attended: Variable(attended))
  }

  private func appendKeys(_ tape: Tape, _ g: Variable, _ tokens: [Int32], positions: [Int]) -> Variable {
    let h = network.mix(tape, embedding: network.embeddings(tape, tokens, tables), hidden: g)
    let (k, v) = network.keys(tape, h, network.rotary.table(positions: positions.map(Int32.init)))
    cache.append(k.value, v.value)
    return h
  }

  private func logits(_ hidden: Variable) -> Tensor {
    tape.linear(network.normalized(tape, hidden), network.lmHead(tables)).value
  }
}
