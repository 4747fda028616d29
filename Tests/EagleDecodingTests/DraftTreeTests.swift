import EagleDecoding
import EagleDraft
import EagleModels
import EagleTensor
import Testing

@Suite struct DraftTreeTests {
  /// A drafter that has read a prompt, and the target's states for it.
  private func drafter(_ name: String, seed: UInt64) throws -> (any Drafter, Int32) {
    let (target, ids, _) = try Fixture.load(name)
    let head = Drafts.random(for: target, size: 50, seed: seed)
    let drafter = head.makeDrafter(target: target, capacity: 200)
    let states = target.decode(ids, segments: [Segment(rows: 0..<ids.count)], captureLayers: drafter.captureLayers)
    drafter.extend(states.auxHidden!, nextTokens: Array(ids.dropFirst()) + [9], .decode)
    return (drafter, 9)
  }

  private func propose(_ drafter: any Drafter, _ token: Int32, _ plan: DraftPlan, costs: DecodingCosts? = nil) throws
    -> Proposal
  {
    try drafter.propose(
      after: token, plan: plan, sampler: Sampler(.greedy, prompt: []), budget: costs.map(DraftBudget.init))
  }

  @Test("a tree holds the likeliest paths", arguments: ["tiny-llama", "tiny-qwen3"])
  func aTreeHoldsTheLikeliestPaths(name: String) throws {
    for seed in 0..<8 as Range<UInt64> {
      let (drafter, token) = try drafter(name, seed: seed)
      let chain = try propose(drafter, token, .chain(4))
      let tree = try propose(drafter, token, DraftPlan(depth: 4, width: 3, nodes: 10))
      #expect(chain.count == 4 && chain.tree.isChain && tree.count == 10 && tree.passes == 4)
      // Drafting a tree leaves no entries in the head's KV cache, and is repeatable.
      #expect(try propose(drafter, token, .chain(4)).tokens == chain.tokens)
      #expect(try propose(drafter, token, DraftPlan(depth: 4, width: 3, nodes: 10)).tokens == tree.tokens)
      // Siblings differ, and the first level contains the chain's first token.
      for node in 0..<tree.tokens.count {
        let children = (1..<tree.tokens.count).filter { tree.tree.parents[$0] == node }.map { tree.tokens[$0] }
        #expect(Set(children).count == children.count && children.count <= 3)
      }
      #expect((1..<tree.tokens.count).contains { tree.tree.parents[$0] == 0 && tree.tokens[$0] == chain.tokens[1] })
    }
  }

  /// The continuation of a path does not depend on the other nodes: trees of different shapes have the same best child
  /// on every path that they share, including the chain's path.
  @Test("a node attends to its ancestors alone", arguments: ["tiny-llama", "tiny-qwen3"])
  func aNodeSeesItsAncestorsAlone(name: String) throws {
    var shared = 0
    for seed in 0..<4 as Range<UInt64> {
      let (drafter, token) = try drafter(name, seed: seed)
      var best: [[Int32]: Int32] = [:]
      let plans = [.chain(4)] + [2, 3, 5, 8].map { DraftPlan(depth: 4, width: $0, nodes: 60) }
      for tree in try plans.map({ try propose(drafter, token, $0) }) {
        for node in 0..<tree.tokens.count {
          guard let child = tree.tree.parents.firstIndex(of: node) else { continue }
          let path = tree.tree.paths[node].map { tree.tokens[$0] }
          if let known = best[path] {
            #expect(known == tree.tokens[child])
            shared += path.count > 1 ? 1 : 0
          }
          best[path] = tree.tokens[child]
        }
      }
    }
    #expect(shared > 30)
  }

  @Test("costs decide how far a round drafts")
  func costsDecideHowFarARoundDrafts() throws {
    let (drafter, token) = try drafter("tiny-llama", seed: 2)
    #expect(
      abs(
        DecodingCosts(targetPass: [2, 2.1, 2.2], draftPass: 0.2).gain(
          acceptanceLength: 2.5, draftLength: 2, draftPasses: 2) - 5 / 2.6)
        < 1e-12)
    let free = DecodingCosts(targetPass: [1, 1, 1, 1, 1, 1], draftPass: 0)
    let dear = DecodingCosts(targetPass: [1, 2, 3, 4, 5, 6], draftPass: 5)
    #expect(try propose(drafter, token, .chain(5), costs: free).count == 5)
    #expect(try propose(drafter, token, .chain(5), costs: dear).count == 1)
    #expect(try propose(drafter, token, DraftPlan(depth: 4, width: 3, nodes: 9), costs: free).count == 9)
    #expect(try propose(drafter, token, DraftPlan(depth: 4, width: 3, nodes: 9), costs: dear).count <= 1)
    // The costs of more rows than a pass may have are not used.
    let dearBeyond = DecodingCosts(targetPass: [Double](repeating: 1, count: 10) + [100, 200], draftPass: 0)
    let tree = try propose(drafter, token, DraftPlan(depth: 4, width: 3, nodes: 9), costs: dearBeyond)
    #expect(tree.count == 9 && tree.passes == 4)
  }

  @Test("the cache entries of the accepted path are kept")
  func acceptedEntriesAreKept() {
    let shape = AttentionShape(heads: 2, kvHeads: 1, headDimension: 2)
    let cache = KVCache(layers: [KVCache.LayerShape(width: shape.keyWidth)], capacity: 10)
    func row(_ value: Float) -> Tensor { Tensor([value, -value], [1, 2]) }
    for value in 0..<8 { cache.append(row(Float(value)), row(Float(10 * value))) }
    cache.keep([0, 2, 5], from: 2)
    #expect(cache.count == 5)
    let (k, v, _) = cache.entries(of: 0)
    #expect((0..<5).map { k.values[2 * $0] } == [0, 1, 2, 4, 7])
    #expect((0..<5).map { v.values[2 * $0] } == [0, 10, 20, 40, 70])
  }
}

extension KVCache {
  /// Appends all rows of k and v [R, width] to a cache of one layer.
  fileprivate func append(_ k: Tensor, _ v: Tensor) {
    write(0, k, v, rows: 0..<k.rows)
    advance(k.rows)
  }
}
