import EagleText
import EagleTraining
import Testing

/// Written by hand from the rule: row p at step k is trained when x[p+1] … x[p+2+k] lie in one span.
@Suite struct TrainedRowsTests {
  private func rows(_ mask: [UInt8], steps: Int) -> [[Int]] {
    let trained = TrainedRows(mask: mask, steps: steps)
    return (0..<steps).map { trained.rows(step: $0) }
  }

  @Test("the first trained row of a span is the one before it")
  func aSpanInTheMiddleStartsOneRowBeforeIt() {
    // Span [2, 6): decoding starts at row 1, which takes x2 and predicts x3.
    #expect(rows([0, 0, 1, 1, 1, 1, 0], steps: 4) == [[1, 2, 3], [1, 2], [1], []])
  }

  @Test("a span at the start of a conversation has no row before it")
  func aSpanAtTheStartHasNoRowBeforeIt() {
    #expect(rows([1, 1, 1, 1, 0], steps: 3) == [[0, 1], [0], []])
  }

  @Test("a span of n tokens has rows for at most n TTT steps")
  func shortSpansHaveFewRows() {
    #expect(rows([0, 1, 0, 0], steps: 2) == [[], []])
    #expect(rows([0, 1, 1, 0], steps: 2) == [[0], []])
  }

  @Test func aSpanMayEndTheConversation() {
    #expect(rows([0, 0, 1, 1, 1], steps: 2) == [[1, 2], [1]])
  }

  @Test("the rows of a TTT step stay within their span")
  func rowsDoNotCrossFromOneSpanToTheNext() {
    #expect(rows([0, 1, 1, 0, 1, 1, 1], steps: 2) == [[0, 3, 4], [3]])
  }

  @Test func prefixAndTeacherCoverTheTrainedRows() {
    let trained = TrainedRows(mask: [0, 0, 1, 1, 1, 1, 0, 0, 1, 1, 0], steps: 2)
    // Step 0 rows are 1, 2, 3 and 7; their teachers and those of step 1 are 2, 3, 4 and 8.
    #expect(trained.prefixCount == 8)
    #expect(trained.teacherPositions == [2, 3, 4, 8])
    #expect(TrainedRows(mask: [0, 0], steps: 2).prefixCount == 0)
  }
}
