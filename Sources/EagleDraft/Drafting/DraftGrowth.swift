import CEagleKernels
import EagleModels
import EagleTensor
import Foundation

// R tokens in the pass · D draft vocabulary.

/// A round's draft tree while it grows (EAGLE-2): level by level, the `width` likeliest nodes of each level are
/// expanded; at the end the `nodes` likeliest ones of all are proposed. A node is never likelier than its parent, so
/// these form a tree.
///
/// A node is named by its index; index 0 is the newest token, the root, as in the proposal.
package struct DraftGrowth {
  struct Node {
    let token: Int32
    /// The index of the parent, always a smaller one; -1 for the root, as in `RowTree`.
    let parent: Int
    /// The log-probability of the path to it.
    let score: Double
    /// The entry of an expanded node in the draft's cache, counted from the first one after those of verified
    /// positions. The root's entry is the last verified one, -1.
    fileprivate(set) var entry = -1
  }

  /// The nodes of one level that a draft pass expands.
  package struct Frontier {
    package let tokens: [Int32]
    /// The steps from the root to each of them.
    let depth: Int
    /// The row of each one's parent in the pass that expanded it.
    let parentRows: [Int32]
    /// The cache entries of each one's path from the root's child to itself.
    let entryPaths: [[Int]]
  }

  private let plan: DraftPlan
  private let budget: DraftBudget?
  private let sampler: Sampler
  /// The position in the sequence of the root's children.
  private let position: Int
  /// Whether one draft pass gives all levels.
  private let isOnePass: Bool
  private var nodes: [Node]
  /// The nodes of the newest level that are expanded next. At first the root.
  private var frontier = [0]
  private var passes = 0
  /// The head's confidence in the first draft.
  private var confidence: Double?
  /// The cache entry of the first node of the last draft pass.
  private var firstEntry = -1
  /// The cache entries that draft passes have made.
  private var entryCount = 0
  /// The distributions of sampled tokens, in the order of the nodes.
  private var sampledFrom: [DraftDistribution] = []

  package init(
    root: Int32, plan: DraftPlan, budget: DraftBudget?, sampler: Sampler, position: Int, isOnePass: Bool = false
  ) {
    (self.plan, self.budget, self.sampler, self.position) = (plan, budget, sampler, position)
    self.isOnePass = isOnePass
    nodes = [Node(token: root, parent: -1, score: 0)]
  }

  /// Whether another draft pass is worth its cost.
  package var grows: Bool {
    guard passes < plan.depth, let best = frontier.first else { return false }
    // In a tree, or if the head predicts acceptance, the probability of a block's next token is known before it takes a
    // row.
    return budget?.paysPass(
      from: exp(nodes[best].score), tokens: worthChecking.count + 1, limit: plan.nodes + 1, isFree: isOnePass,
      isNextKnown: isOnePass && (confidence != nil || !plan.isChain)) ?? true
  }

  /// Whether a chain's next token is worth its row in the target's pass, by the probability that it is accepted. This
  /// probability must not depend on the token itself: a choice by the token would bias sampling.
  package func paysNext(acceptance: Double) -> Bool {
    guard plan.isChain, let budget, let last = frontier.first else { return true }
    return budget.paysNode(of: exp(nodes[last].score) * budget.calibrated(acceptance), beside: nodes.count)
  }

  /// Assigns cache entries to the nodes of the frontier, after those of earlier levels.
  mutating package func expandFrontier() -> Frontier {
    let parentRows = frontier.map { Int32(nodes[nodes[$0].parent].entry - firstEntry) }
    firstEntry = entryCount
    entryCount += frontier.count
    for (row, node) in frontier.enumerated() { nodes[node].entry = firstEntry + row }
    return Frontier(
      tokens: frontier.map { nodes[$0].token }, depth: passes, parentRows: parentRows,
      entryPaths: frontier.map { path(to: $0).map { nodes[$0].entry } })
  }

  /// Takes the logits [R, D] of the draft pass over the frontier.
  ///
  /// - Parameter acceptance: the probability that the likeliest child of each node is accepted, if the head predicts
  ///   it: it replaces the child's own probability, and the siblings share the rest
  /// - Throws: `GenerationError` for logits that are not finite
  mutating package func add(children logits: Tensor, vocabulary: DraftVocabulary, acceptance: [Double]? = nil) throws {
    let firstChild = nodes.count
    if passes == 0 { confidence = acceptance?.first }
    for (row, parent) in frontier.enumerated() {
      let path = path(to: parent).map { nodes[$0].token }
      let children = try choices(logits, row: row, behind: path[...], vocabulary: vocabulary)
      let predicted = acceptance.map { budget?.calibrated($0[row]) ?? $0[row] }
      for (index, (id, own)) in children.enumerated() {
        let logProbability =
          predicted.map { Self.expected($0, isLikeliest: index == 0, own, first: children[0].logProbability) } ?? own
        nodes.append(
          Node(token: vocabulary.targetIDs[id], parent: parent, score: nodes[parent].score + logProbability))
      }
    }
    passes += 1
    frontier = likeliest(plan.width, of: firstChild..<nodes.count)
  }

  /// The log-probability of a child where the head predicts that the likeliest child is accepted with probability c:
  /// log c for that one. With p_1 the draft's own probability of the likeliest child, a sibling of probability p has
  /// p (1 - c) / (1 - p_1), and at most c.
  private static func expected(_ c: Double, isLikeliest: Bool, _ own: Double, first: Double) -> Double {
    let most = log(max(1e-9, c))
    return isLikeliest ? most : min(most, own + log(max(1e-9, 1 - c)) - log(max(1e-9, 1 - exp(first))))
  }

  /// The nodes that the target verifies.
  package func proposal() -> Proposal {
    let kept = worthChecking.sorted()
    let indices = Dictionary(uniqueKeysWithValues: ([0] + kept).enumerated().map { ($1, $0) })
    var proposal = Proposal(
      after: nodes[0].token, tokens: kept.map { nodes[$0].token },
      parents: kept.map { indices[nodes[$0].parent, default: 0] })
    proposal.sampledFrom = sampledFrom
    proposal.confidence = confidence
    proposal.passes = isOnePass ? 1 : passes
    return proposal
  }

  /// The nodes that are worth a row in the target's pass, the likeliest first: the cost of the k-th of them is what a
  /// k-th token adds to the pass.
  private var worthChecking: [Int] {
    let likely = likeliest(plan.nodes, of: 1..<nodes.count)
    guard let budget, !plan.isChain else { return likely }
    return likely.enumerated().prefix { budget.paysNode(of: exp(nodes[$1].score), beside: $0 + 1) }.map(\.element)
  }

  /// The likeliest of some nodes, the likeliest first; of equal ones the first.
  private func likeliest(_ count: Int, of range: Range<Int>) -> [Int] {
    range.count <= 1
      ? Array(range) : Array(range.sorted { (nodes[$0].score, $1) > (nodes[$1].score, $0) }.prefix(count))
  }

  /// The nodes from the root's child to a node, itself included; none for the root.
  private func path(to node: Int) -> [Int] {
    var (path, ancestor): ([Int], Int) = ([], node)
    while ancestor > 0 {
      path.append(ancestor)
      ancestor = nodes[ancestor].parent
    }
    return path.reversed()
  }

  // MARK: children

  /// The draft ids and log-probabilities of the children that one row of logits yields at the end of a path.
  private mutating func choices(
    _ logits: Tensor, row: Int, behind path: ArraySlice<Int32>, vocabulary: DraftVocabulary
  ) throws -> [(id: Int, logProbability: Double)] {
    let width = logits.columns
    let values = UnsafeMutableBufferPointer(start: logits.floats + row * width, count: width)
    try Sampler.checkFinite(values, of: "draft head")
    if plan.isChain && !sampler.isGreedy {
      sampler.makeDistribution(values, path: path, draftIDs: vocabulary.draftIDs)
      sampledFrom.append(DraftDistribution(probabilities: logits, targetIDs: vocabulary.targetIDs))
      // One random number for each round and level. One for each position would be used again in the round after a
      // rejected draft: whether that position is drafted depends on what the number yielded before, and its token would
      // be biased.
      let id = Sampler.sample(values, sampler.random(.proposal, position * DraftPlan.maxNodes + path.count))
      // The token is accepted with min(1, p / q): its own probability q says little about that.
      return [(id, budget.map { log($0.share) } ?? 0)]
    }
    sampler.penalizeDraft(values, path: path, draftIDs: vocabulary.draftIDs)
    if plan.isChain && budget == nil {
      return [(Int(eagle_argmax(values.baseAddress!, Int64(width))), 0)]  // its probability is not used
    }
    return Self.likeliestChoices(plan.width, of: values)
  }

  /// The largest logits, with log-softmax of each.
  private static func likeliestChoices(
    _ count: Int, of logits: UnsafeMutableBufferPointer<Float>
  ) -> [(id: Int, logProbability: Double)] {
    let best = TopK.indices(count, of: UnsafeBufferPointer(logits))
    let top = best.map { logits[$0] }
    var maximum: Float = 0
    let sum = eagle_exp_row(logits.baseAddress!, Int64(logits.count), &maximum)
    return zip(best, top).map { ($0, Double($1 - maximum) - log(Double(sum))) }
  }
}
