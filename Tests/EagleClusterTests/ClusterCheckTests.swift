import EagleCluster
import Testing

@Suite struct ClusterCheckTests {
  @Test("every collective call gives the right result on every rank", arguments: [1, 2, 3, 5])
  func everyCallOfEveryRankIsRight(ranks: Int) throws {
    _ = try LoopbackCommunicator.run(size: ranks) { try ClusterCheck.run($0) }
  }

  @Test("every collective operation is right on a single rank")
  func aloneEveryCallIsRight() throws { try ClusterCheck.run(SoloCommunicator()) }

  @Test("slices cover the buffer once, and differ by at most one element") func slicesCoverTheBufferOnce() {
    for (count, ranks) in [(0, 3), (2, 3), (10, 3), (64, 4)] {
      let slices = Slices(count: count, ranks: ranks)
      #expect((0..<ranks).flatMap { Array(slices[$0]) } == Array(0..<count))
      let lengths = (0..<ranks).map { slices[$0].count }
      #expect(lengths.max()! - lengths.min()! <= 1)
    }
  }

  @Test("ranks know their node, its first rank and its size") func ranksKnowTheirNodes() throws {
    let nodes = try LoopbackCommunicator.run(size: 5, ranksPerNode: 2) { ($0.nodes, $0.isFirstOfNode, $0.ranksOnNode) }
    #expect(nodes.allSatisfy { $0.0 == [0, 0, 2, 2, 4] })
    #expect(nodes.map(\.1) == [true, false, true, false, true] && nodes.map(\.2) == [2, 2, 2, 2, 1])
  }
}
