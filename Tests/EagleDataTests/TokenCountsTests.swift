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

  private func warnings(_ counts: TokenCounts, _ vocabulary: [Int32], isOfHead: Bool = false) throws -> [String] {
    var statistics = DataStatistics()
    return counts.describe(
      try DraftVocabulary(checking: vocabulary, targetSize: 100, path: "test"), isOfHead: isOfHead, in: &statistics)
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

  @Test("no key is advised for the vocabulary of a head that is fine-tuned, and languages are named apart")
  func otherData() throws {
    let found = try warnings(counts([.latin, .other]), [0, 1, 2] + (10..<90).map(Int32.init), isOfHead: true)
    #expect(found.count == 2 && found[0].contains("of the trained latin tokens; it is that of draft.init_from"))
    #expect(
      found[1].contains("of the trained unclassified tokens;") && found[1].contains("vocabulary of 71 would cover"))
  }

  @Test("a head's vocabulary that is too small names the size of a new head's")
  func smallHead() throws {
    let found = try warnings(counts([.latin]), (0..<20).map(Int32.init), isOfHead: true)
    #expect(found.count == 1 && !found[0].contains("vocabulary_size") && found[0].contains("vocabulary of 71 would"))
  }

  @Test("a vocabulary with enough of the tokens brings no warning")
  func enough() throws {
    #expect(try warnings(counts([.latin]), (0..<80).map(Int32.init)).isEmpty)
  }
}
