import CEagleKernels
import EagleAutograd
import EagleModels
import EagleTensor
import Foundation

// R rows · H hidden · D draft vocabulary.

/// Drafts with an EAGLE-3 head.
///
/// Row p of its cache is made from the target's own states at p and the token at p + 1, as at step 0 of training. Keys made
/// while proposing lie behind those rows and are dropped when the round is over.
package final class EagleDrafter: Drafter {
  private let draft: DraftModel
  private let embedding: Tensor  // [V, H] of the target
  private let cache: KVCache
  private let tape: Tape
  /// The newest row: its hidden state g_0 and what queries are made of, both of one row.
  private var newest: (g: Variable, h: Variable)?

  package init(draft: DraftModel, target: TargetModel, capacity: Int) {
    self.draft = draft
    embedding = target.embedding
    tape = Tape(decoding: target.precision)
    cache = draft.makeCache(capacity: capacity)
  }

  package var captureLayers: [Int] { draft.shape.captureLayers }
  package var rowCount: Int { cache.count }

  package var cacheBytes: Int { cache.byteCount }

  package func truncate(to rows: Int) { cache.truncate(to: rows) }

  /// Beside the rows themselves there must be room for those of a round's draft passes.
  package func reserve(_ rows: Int) throws {
    try cache.reserve(min(cache.capacity, cache.count + rows + 2 * DraftPlan.mostNodes))
  }

  package func releaseUnused() { cache.releaseUnused() }

  package func extend(_ auxHidden: Tensor, nextTokens: [Int32], _ kind: TargetModel.PassKind) {
    let tape = kind == .prefill ? Tape(recording: false, precision: tape.precision) : tape
    let g = draft.project(tape, auxHidden)
    let h = appendKeys(tape, g, nextTokens, positions: nextTokens.indices.map { cache.count + $0 })
    let last = g.value.rows - 1..<g.value.rows
    newest = (Variable(g.value.slice(last)), Variable(h.value.slice(last)))
  }

  package func propose(after token: Int32, _ plan: DraftPlan, _ sampler: Sampler, _ budget: DraftBudget?) throws
    -> Proposal
  {
    let verified = cache.count
    defer { cache.truncate(to: verified) }
    guard let newest, plan.depth > 0 else { return Proposal(after: token) }
    let row = AttentionRow(prefixStart: 0, prefixCount: Int32(verified))
    let q = draft.queries(tape, newest.h, draft.rotary.table(positions: [Int32(verified - 1)]))
    let (keys, values) = cache.entries(of: 0)
    let attended = tape.attention(
      q, Variable(keys), Variable(values), rows: [row], chain: [], shape: draft.shape.attention)
    let root = draft.finish(tape, hidden: newest.g, attended: attended)
    var growth = DraftGrowth(root: token, plan: plan, budget: budget, sampler: sampler, position: verified + 1)
    try growth.add(children: logits(root), vocabulary: draft.vocabulary)
    var hidden = root
    while growth.grows {
      let frontier = growth.frontier
      hidden = extend(frontier, hidden, verified: verified, growth)
      try growth.add(children: logits(hidden), vocabulary: draft.vocabulary)
    }
    return growth.proposal()
  }

  /// One draft pass over the frontier: each node made from the state that its parent's pass gave.
  private func extend(
    _ frontier: [DraftGrowth.Node], _ hidden: Variable, verified: Int, _ growth: DraftGrowth
  ) -> Variable {
    let g = Variable(Rows.select(hidden.value, frontier.map { Int32($0.parentRow) }))
    let first = cache.count - verified
    let positions = frontier.map { verified - 1 + $0.depth }
    let h = appendKeys(tape, g, frontier.map(\.token), positions: positions)
    let paths = frontier.enumerated().map { $1.ancestorKeys + [first + $0] }
    let q = draft.queries(tape, h, draft.rotary.table(positions: positions.map(Int32.init)))
    let (keys, values) = cache.entries(of: 0)
    let attended = Attention.tree(
      q.value, keys, values, prefix: verified, paths: paths, shape: draft.shape.attention)
    return draft.finish(tape, hidden: g, attended: Variable(attended))
  }

  private func appendKeys(_ tape: Tape, _ g: Variable, _ tokens: [Int32], positions: [Int]) -> Variable {
    let h = draft.mix(tape, embedding: Rows.gather(embedding, tokens), hidden: g)
    let (k, v) = draft.keys(tape, h, draft.rotary.table(positions: positions.map(Int32.init)))
    cache.append(k.value, v.value)
    return h
  }

  private func logits(_ hidden: Variable) -> Tensor {
    tape.linear(draft.normalized(tape, hidden), draft.head).value
  }
}

/// A round's tree while it grows: level by level, the `width` most likely nodes of each level are grown further; at the end
/// the `nodes` most likely ones of all are proposed. A node is never likelier than its parent, so these hang together.
struct DraftGrowth {
  struct Node {
    let token: Int32
    /// Steps from the newest token, 1 for its children.
    let depth: Int
    /// Log-probability of the path to it.
    let score: Double
    /// Place of its parent among the nodes, -1 for the newest token.
    let parent: Int
    /// Row of its parent in the draft pass that gave it.
    let parentRow: Int
    /// Draft cache rows, counted from the first one that this round made, of its ancestors.
    let ancestorKeys: [Int]
  }

  private let root: Int32
  private let plan: DraftPlan
  private let budget: DraftBudget?
  private let sampler: Sampler
  /// Position in the text of the newest token's children.
  private let position: Int
  private var nodes: [Node] = []
  private var drawn: [DraftDistribution] = []
  private var passes = 0
  /// Key rows that draft passes have made.
  private var keyCount = 0
  /// Places of the nodes of the newest level that are grown further.
  private var frontierPlaces: [Int] = []

  init(root: Int32, plan: DraftPlan, budget: DraftBudget?, sampler: Sampler, position: Int) {
    self.root = root
    self.plan = plan
    self.budget = budget
    self.sampler = sampler
    self.position = position
  }

  var frontier: [Node] { frontierPlaces.map { nodes[$0] } }

  /// Whether another level is to be grown from the frontier.
  var grows: Bool {
    guard passes < plan.depth, let best = frontier.first else { return false }
    return budget?.paysPass(from: exp(best.score), rows: worthChecking.count + 1, most: plan.nodes + 1) ?? true
  }

  /// Places of the nodes that the target is to check, the likeliest first: the k-th of them costs what a k-th row costs.
  private var worthChecking: [Int] {
    let likely = likeliest(plan.nodes, of: Array(nodes.indices))
    guard let budget, !plan.isChain else { return likely }
    return likely.enumerated().prefix { budget.paysRow(of: exp(nodes[$1].score), rows: $0 + 1) }.map(\.element)
  }

  /// Takes the logits [R, D] of the draft pass over the frontier, or over the newest token alone.
  mutating func add(children logits: Tensor, vocabulary: DraftVocabulary) throws {
    let parents = passes == 0 ? [-1] : frontierPlaces
    let firstKey = keyCount
    if passes > 0 { keyCount += parents.count }
    passes += 1
    let firstChild = nodes.count
    for (row, parent) in parents.enumerated() {
      let keys = parent < 0 ? [] : nodes[parent].ancestorKeys + [firstKey + row]
      for (id, logProbability) in try choices(logits, row, after: parent, vocabulary) {
        nodes.append(
          Node(
            token: vocabulary.targetIDs[id], depth: passes,
            score: (parent < 0 ? 0 : nodes[parent].score) + logProbability,
            parent: parent, parentRow: row, ancestorKeys: keys))
      }
    }
    frontierPlaces = likeliest(plan.width, of: Array(firstChild..<nodes.count))
  }

  /// What the target is to check.
  func proposal() -> Proposal {
    let kept = worthChecking.sorted()
    let rows = Dictionary(uniqueKeysWithValues: kept.enumerated().map { ($1, $0 + 1) })
    var proposal = Proposal(
      after: root, tokens: kept.map { nodes[$0].token }, parents: kept.map { rows[nodes[$0].parent] ?? 0 })
    proposal.drawn = drawn
    proposal.passes = passes
    return proposal
  }

  /// Draft ids and log-probabilities of the children that one row of logits gives.
  private mutating func choices(
    _ logits: Tensor, _ row: Int, after parent: Int, _ vocabulary: DraftVocabulary
  ) throws -> [(id: Int, logProbability: Double)] {
    let width = logits.columns
    let values = UnsafeMutableBufferPointer(start: logits.floats + row * width, count: width)
    try Sampler.checkFinite(values, of: "draft head")
    let path = tokens(to: parent)[...]
    if plan.isChain && !sampler.isGreedy {
      sampler.makeDistribution(values, path: path, draftIDs: vocabulary.draftIDs)
      drawn.append(DraftDistribution(probabilities: logits, targetIDs: vocabulary.targetIDs))
      let id = Sampler.draw(values, sampler.random(.proposal, position + path.count))
      return [(id, log(Double(values[id])))]
    }
    sampler.penalizeDraft(values, path: path, draftIDs: vocabulary.draftIDs)
    if plan.isChain && budget == nil {
      return [(Int(eagle_argmax(values.baseAddress!, Int64(width))), 0)]  // nobody asks how likely it is
    }
    let best = Largest.places(plan.width, of: UnsafeBufferPointer(values))
    let top = best.map { values[$0] }
    var maximum: Float = 0
    let sum = eagle_exp_row(values.baseAddress!, Int64(width), &maximum)
    return zip(best, top).map { ($0, Double($1 - maximum) - log(Double(sum))) }
  }

  /// Proposed tokens from the newest token's child to a node.
  private func tokens(to place: Int) -> [Int32] {
    var (tokens, at): ([Int32], Int) = ([], place)
    while at >= 0 {
      tokens.append(nodes[at].token)
      at = nodes[at].parent
    }
    return tokens.reversed()
  }

  /// The places of the likeliest nodes, the likeliest first; of equal ones the first.
  private func likeliest(_ count: Int, of places: [Int]) -> [Int] {
    places.count <= 1 ? places : Array(places.sorted { (nodes[$0].score, $1) > (nodes[$1].score, $0) }.prefix(count))
  }
}
