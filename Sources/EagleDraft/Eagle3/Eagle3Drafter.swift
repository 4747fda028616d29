import EagleAutograd
import EagleModels
import EagleTensor

// R tokens in the pass · H hidden · D draft vocabulary.

/// A drafter with an EAGLE-3 head.
///
/// Entry p of its cache is computed from the target's own states at p and the token at p + 1, as at step 0 of training;
/// in further layers of the head, also from the entries before.
/// The entries of a proposal follow these and are dropped at the end of the round.
package final class Eagle3Drafter: Drafter {
  private let network: Eagle3Network
  private let vocabulary: DraftVocabulary
  private let tables: TargetTables
  private let cache: KVCache
  private let tape: Tape
  /// The last layer's input for the newest entry, one row: the layers before have been computed.
  private var newest: Eagle3Network.LayerInput?

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
    let verified = cache.count
    let g = network.project(tape, auxHidden)
    let rows = nextTokens.indices.map { DraftRow(position: verified + $0, prefix: verified + $0 + 1) }
    let (input, table) = (input(tape, g, nextTokens), table(rows))
    let last = network.shape.layers - 1
    let inputs = network.inputs(tape, through: 0..<last, input, table) { layer, h, q in
      write(tape, layer, h, table)
      return kind == .prefill ? attendInBlocks(layer, q, rows) : attend(layer, q, rows)
    }
    write(tape, last, inputs.h, table)
    cache.advance(rows.count)
    let newest = rows.count - 1..<rows.count
    self.newest = .init(x: Variable(inputs.x.value.slice(newest)), h: Variable(inputs.h.value.slice(newest)))
  }

  package func propose(after token: Int32, plan: DraftPlan, sampler: Sampler, budget: DraftBudget?) throws
    -> Proposal
  {
    let verified = cache.count
    defer { cache.truncate(to: verified) }
    guard let newest, plan.depth > 0 else { return Proposal(after: token) }
    var growth = DraftGrowth(root: token, plan: plan, budget: budget, sampler: sampler, position: verified + 1)
    // The newest entry is in the cache, and all its layers but the last have been computed.
    let row = [DraftRow(position: verified - 1, prefix: verified)]
    var hidden = network.states(tape, from: network.shape.layers - 1, newest, table(row)) { layer, _, q in
      attend(layer, q, row)
    }
    try growth.add(children: logits(hidden), vocabulary: vocabulary)
    while growth.grows {
      hidden = states(growth.expandFrontier(), hidden, verified: verified)
      try growth.add(children: logits(hidden), vocabulary: vocabulary)
    }
    return growth.proposal()
  }

  /// A row of a pass: it attends to the first `prefix` entries and those of its path, which follow the verified ones.
  private struct DraftRow {
    let position: Int
    let prefix: Int
    var path: [Int] = []
  }

  /// A draft pass over the frontier: each node is computed from the state that its parent's pass yielded. Returns
  /// hidden states [R, H].
  private func states(_ frontier: DraftGrowth.Frontier, _ hidden: Variable, verified: Int) -> Variable {
    let g = Variable(Rows.select(hidden.value, frontier.parentRows))
    let rows = frontier.entryPaths.map { path in
      DraftRow(position: verified - 1 + frontier.depth, prefix: verified, path: path.map { verified + $0 })
    }
    let table = table(rows)
    let states = network.states(tape, from: 0, input(tape, g, frontier.tokens), table) { layer, h, q in
      write(tape, layer, h, table)
      return attend(layer, q, rows)
    }
    cache.advance(rows.count)
    return states
  }

  private func table(_ rows: [DraftRow]) -> Rotary.Table {
    network.rotary.table(positions: rows.map { Int32($0.position) })
  }

  /// The first layer's input for states g [R, H] and the tokens that follow them.
  private func input(_ tape: Tape, _ g: Variable, _ tokens: [Int32]) -> Eagle3Network.LayerInput {
    .init(x: g, h: network.mix(tape, embedding: network.embeddings(tape, tokens, tables), hidden: g))
  }

  /// Writes the keys and values of a layer's rows h after the cache's entries.
  private func write(_ tape: Tape, _ layer: Int, _ h: Variable, _ table: Rotary.Table) {
    let (k, v) = network.keys(tape, h, layer: layer, table)
    cache.write(layer, k.value, v.value, rows: 0..<k.value.rows)
  }

  /// Attention of rows over their entries: with a window, the last of them.
  private func attend(_ layer: Int, _ q: Variable, _ rows: [DraftRow]) -> Variable {
    let (keys, values, _) = cache.entries(of: layer)
    let window = network.shape.variant.window
    let seen = rows.map { row in
      let first = window.map { max(0, row.position - $0 + 1) } ?? 0
      return SeenKeys(
        prefix: min(first, row.prefix)..<row.prefix, path: Array(window.map { row.path.suffix($0) } ?? row.path[...]))
    }
    return Variable(Attention.tree(q.value, keys, values, keys: seen, shape: network.shape.attention))
  }

  /// The same for many rows without paths, in GEMMs.
  private func attendInBlocks(_ layer: Int, _ q: Variable, _ rows: [DraftRow]) -> Variable {
    let (keys, values, _) = cache.entries(of: layer)
    let layout = RowLayout(window: network.shape.variant.window)
    return Variable(
      Attention.apply(
        q.value, keys, values, rows: rows.map { layout.seen(row: $0.position, depth: 0, firstKey: 0) },
        shape: network.shape.attention, .gemm(tape.precision)))
  }

  private func logits(_ hidden: Variable) -> Tensor {
    tape.linear(network.normalized(tape, hidden), network.lmHead(tables)).value
  }
}
