import EagleDraft
import EagleTraining
import Testing

/// The partition of a batch's trained rows among ranks.
@Suite struct BatchPartitionTests {
  /// Conversations of these trained rows, all of their tokens: a row costs 10, a context row 1.
  private func items(_ rows: [Int], perContextRow: Double = 1) -> [BatchPartition.Item] {
    rows.enumerated().map { index, count in
      .init(
        index, ConversationWork(positions: [0..<count], perRow: 10, perKey: 0, perContextRow: perContextRow),
        length: count + 2)
    }
  }

  private func partition(_ items: [BatchPartition.Item], ranks: Int, isCut: Bool = true) -> BatchPartition {
    BatchPartition(items, ranks: ranks, depths: 3, isCut: isCut)
  }

  /// Trained rows of all parts by conversation, sorted.
  private func rows(_ partition: BatchPartition, of counts: [Int]) -> [[Int]] {
    counts.indices.map { conversation in
      partition.parts.joined().filter { $0.conversation == conversation }
        .flatMap { Array($0.rows ?? 0..<counts[conversation]) }.sorted()
    }
  }

  @Test("every row is trained once", arguments: [1, 2, 3, 7, 64]) func rowsAreTrainedOnce(ranks: Int) {
    let counts = (0..<30).map { 20 + ($0 * 37) % 90 } + [1, 0, 700]
    let partition = partition(items(counts), ranks: ranks)
    #expect(partition.parts.count == ranks)
    #expect(rows(partition, of: counts) == counts.map { Array(0..<$0) })
  }

  @Test("ranks have equal work, whatever the conversations", arguments: [(2, 1.02), (8, 1.07), (16, 1.11), (64, 1.53)])
  func sharesAreEqual(ranks: Int, bound: Double) {
    // Nine conversations of about a thousand rows, like a batch of the Qwen3-4B recipe.
    let partition = partition(items([400, 2000, 700, 1300, 900, 600, 1100, 500, 1500]), ranks: ranks)
    #expect(partition.costs.max()! < 1.02 * partition.costs.reduce(0, +) / Double(ranks))
    // because: the context of a part is computed again, at a tenth of a row's cost here
    #expect(partition.slowest < bound)
  }

  @Test("whole conversations stay whole where they are equal already") func equalSharesAreNotCut() {
    let partition = partition(items([100, 100, 100, 100]), ranks: 2)
    #expect(partition.parts.joined().allSatisfy { $0 == .whole($0.conversation) })
    #expect(partition.parts.map(\.count) == [2, 2])
  }

  @Test("nothing moves where the context costs more than that saves") func costlyContextStays() {
    let partition = partition(items([100], perContextRow: 1000), ranks: 4)
    #expect(partition.parts.map(\.count).sorted() == [0, 0, 0, 1])
  }

  @Test("conversations that must stay whole are not cut") func conversationsStayWholeWhereTheyMust() {
    let partition = partition(items([1000, 10]), ranks: 3, isCut: false)
    #expect(partition.parts.map(\.count).sorted() == [0, 1, 1])
  }

  /// A weight repeats conversations; copies in one batch are partitioned like others.
  @Test("copies of a conversation are distributed like others") func copiesAreSharedOutLikeOthers() {
    let work = ConversationWork(positions: [0..<100], perRow: 1, perKey: 0, perContextRow: 0)
    let copies = [BatchPartition.Item](repeating: .init(5, work, length: 100), count: 3)
    let partition = partition(copies, ranks: 2)
    #expect(partition.costs == [150, 150])
    let trained = partition.parts.joined().flatMap { Array($0.rows ?? 0..<100) }
    #expect((0..<100).allSatisfy { row in trained.count { $0 == row } == 3 })
  }

  @Test("a part's cost and states, by hand") func costsByHand() {
    // Rows at positions 4 … 9 and 20 … 23.
    let work = ConversationWork(positions: [4..<10, 20..<24], perRow: 100, perKey: 1, perContextRow: 2)
    #expect(work.rows == 10 && work.context(of: 0..<6) == 10 && work.context(of: 0..<7) == 21)
    // Three rows at 4, 5, 6 see 5 + 6 + 7 keys.
    #expect(work.cost(0..<3) == 3 * 100 + 18 + 2 * 7)
    #expect(work.part(7, 2..<6, depths: 3, length: 30) == ConversationPart(7, rows: 2..<6, states: 13))
    #expect(work.part(7, 8..<10, depths: 9, length: 30).states == 30)
    #expect(work.part(7, 0..<10, depths: 3, length: 30) == .whole(7))
  }

  @Test("rows behind a head's window see that many keys") func costsOfAWindow() {
    for window in [1, 6, 12, 20, 100] {
      let work = ConversationWork(positions: [4..<24], perRow: 0, perKey: 1, perContextRow: 0, window: window)
      for part in [0..<20, 3..<9, 15..<16] {
        let keys = part.reduce(0) { $0 + min(4 + $1 + 1, window) }
        #expect(abs(work.cost(part) - Double(keys)) < 1e-9, "window \(window), rows \(part)")
      }
    }
    // The same sums by depth: a row of depth k has k keys of its own chain.
    let rows = TrainedRows(mask: [0] + [UInt8](repeating: 1, count: 20), depths: 3)
    let (all, near) = (RowChunk(rows, rows: 0..<21), RowChunk(rows, rows: 0..<21, window: 8))
    for depth in 0..<3 {
      let seen = rows.rows(depth: depth, in: 0..<21).map { $0 + 1 + depth }
      #expect(all.attended[depth] == seen.reduce(0, +))
      #expect(near.attended[depth] == seen.reduce(0) { $0 + min($1, 8) })
    }
  }
}
