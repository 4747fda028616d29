import EagleDraft
import EagleText
import EagleTraining
import Testing

/// Written by hand from the rule: row p at depth k is trained when x[p+1] … x[p+2+k] are in one span.
@Suite struct TrainedRowsTests {
  private func rows(_ mask: [UInt8], depths: Int) -> [[Int]] {
    let trained = TrainedRows(mask: mask, depths: depths)
    return (0..<depths).map { trained.rows(depth: $0) }
  }

  @Test("the first trained row of a span is the one before it")
  func aSpanInTheMiddleStartsOneRowBeforeIt() {
    // Span [2, 6): decoding starts at row 1, which reads x2 and predicts x3.
    #expect(rows([0, 0, 1, 1, 1, 1, 0], depths: 4) == [[1, 2, 3], [1, 2], [1], []])
  }

  @Test("a span at the start has no row before it") func aSpanAtTheStartHasNoRowBeforeIt() {
    #expect(rows([1, 1, 1, 1, 0], depths: 3) == [[0, 1], [0], []])
  }

  @Test("a span of one token has no row, one of two tokens has one") func shortSpansHaveFewRows() {
    #expect(rows([0, 1, 0, 0], depths: 2) == [[], []])
    #expect(rows([0, 1, 1, 0], depths: 2) == [[0], []])
  }

  @Test("a span can end the conversation") func aSpanMayEndTheConversation() {
    #expect(rows([0, 0, 1, 1, 1], depths: 2) == [[1, 2], [1]])
  }

  @Test("rows do not cross from one span to the next") func rowsDoNotCrossFromOneSpanToTheNext() {
    #expect(rows([0, 1, 1, 0, 1, 1, 1], depths: 2) == [[0, 3, 4], [3]])
  }

  @Test("prefix and teacher positions cover the trained rows") func prefixAndTeacherCoverTheTrainedRows() {
    let trained = TrainedRows(mask: [0, 0, 1, 1, 1, 1, 0, 0, 1, 1, 0], depths: 2)
    // Depth 0 rows are 1, 2, 3 and 7; their teachers and those of depth 1 are 2, 3, 4 and 8.
    #expect(trained.prefixCount == 8)
    #expect(trained.teacherPositions == [2, 3, 4, 8])
    #expect(TrainedRows(mask: [0, 0], depths: 2).prefixCount == 0)
  }

  @Test("a sample takes a share of each depth's rows to the next, other ones in each epoch")
  func sample() {
    let mask = [UInt8](repeating: 0, count: 5) + [UInt8](repeating: 1, count: 60) + [0, 0, 1, 1, 1]
    let all = TrainedRows(mask: mask, depths: 4)
    func sample(_ epoch: Int, share: Double = 0.5) -> TrainedRows {
      all.sampled(share: share, seed: 3, conversation: 7, epoch: epoch)
    }
    let one = sample(0)
    #expect(one.rows(depth: 0) == all.rows(depth: 0) && one.teacherPositions == all.teacherPositions)
    for k in 1..<4 {
      let possible = one.rows(depth: k - 1).filter(Set(all.rows(depth: k)).contains)
      #expect(one.rows(depth: k).allSatisfy(possible.contains) && one.count(depth: k) == one.rows(depth: k).count)
      #expect(one.rows(depth: k, in: 10..<30) == one.rows(depth: k).filter { (10..<30).contains($0) })
    }
    #expect(one == sample(0) && one != sample(1) && sample(0, share: 1) == all)
    // Rows of short and of long answers count alike: half of the samples, and a quarter one depth further.
    let samples = (0..<400).map { sample($0) }
    // because: 4.5 standard deviations of 10 and of 8.7
    for row in all.rows(depth: 1) { #expect(abs(samples.count { $0.rows(depth: 1).contains(row) } - 200) < 45) }
    for row in all.rows(depth: 2) { #expect(abs(samples.count { $0.rows(depth: 2).contains(row) } - 100) < 39) }
    #expect(
      TrainedRows(mask: mask, depths: 1).sampled(share: 0.5, seed: 3, conversation: 7, epoch: 0).count(depth: 0) == 61)
  }
}
