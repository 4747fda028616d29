import EagleData
import EagleDraft
import EagleRunFiles
import Testing

@Suite struct TokenCountsTests {
  /// Tokens 0 to 99: the first ten 90 times each, the others once.
  private func counts(_ languages: [Language]) -> TokenCounts {
    var counts = TokenCounts(size: 100)
    let ids = (0..<10).flatMap { [Int32](repeating: $0, count: 90) } + (10..<100).map(Int32.init)
    for language in languages {
      counts.add(ids, mask: [UInt8](repeating: 1, count: ids.count), language: language, times: 1)
    }
    return counts
  }

  private func warnings(_ counts: TokenCounts, _ vocabulary: [Int32]) throws -> [String] {
    var statistics = DataStatistics()
    return counts.describe(
      try DraftVocabulary(checking: vocabulary, targetSize: 100, path: "test"), in: &statistics)
  }

  @Test("a vocabulary of these data that is too small names the size that would do")
  func tooSmall() throws {
    let found = try warnings(counts([.latin]), (0..<20).map(Int32.init))
    // 900 and n of 90 tokens are 97 % from n = 61 on.
    #expect(
      found == [
        "warning: the draft vocabulary of 20 covers 91.9 % of the trained tokens; draft.vocabulary_size 71 would cover 97.0 %"
      ])
  }

  @Test("a head's vocabulary of other data is not advised to become smaller, and languages are named apart")
  func otherData() throws {
    let found = try warnings(counts([.latin, .other]), [0, 1, 2] + (10..<90).map(Int32.init))
    #expect(found.count == 2 && found[0].contains("of the trained latin tokens; it is that of draft.init_from"))
    #expect(
      found[1].contains("of the trained unclassified tokens;") && found[1].contains("vocabulary of 71 would cover"))
  }

  @Test("a vocabulary with enough of the tokens brings no warning")
  func enough() throws {
    #expect(try warnings(counts([.latin]), (0..<80).map(Int32.init)).isEmpty)
  }
}
