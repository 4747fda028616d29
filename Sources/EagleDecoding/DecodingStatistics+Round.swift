import EagleRunFiles

extension DecodingStatistics {
  mutating func countRound(_ proposal: Proposal, accepted kept: Int) {
    rounds += 1
    draftPasses += proposal.passes
    draftedTokens += proposal.count
    let depth = proposal.tree.depth.max()!
    proposed = Self.added(proposed, [Int](repeating: 1, count: depth))
    accepted = Self.added(accepted, (0..<depth).map { $0 < kept ? 1 : 0 })
  }
}
