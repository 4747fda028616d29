import EagleText
import Testing

@Suite struct NearDuplicatesTests {
  private static let words = [
    "river", "stone", "quiet", "market", "window", "bright", "seven", "paper", "garden", "salt",
  ]

  private func text(_ seed: Int) -> [String] {
    (0..<40).map { Self.words[($0 * 37 + seed * 11) % 10] + "\(($0 * 101 + seed * 53 + $0 * $0) % 89)" }
  }

  /// Whether each text is added, one after another.
  private func added(_ texts: [String]) -> [Bool] {
    var known = NearDuplicates()
    return texts.map { known.insert($0) }
  }

  @Test("nearly equal texts are found, and others are not") func nearlyEqualTextsAreFoundAndOthersNot() {
    let texts = (0..<30).map(text)
    let changed = texts.map { words in (words[..<20] + ["changed"] + words[21...]).joined(separator: ", ").uppercased()
    }
    let all = texts.map { $0.joined(separator: " ") } + changed + [text(3).everySecondFirst.joined(separator: " ")]
    #expect(added(all) == [Bool](repeating: true, count: 30) + [Bool](repeating: false, count: 30) + [true])
  }

  @Test("each character of scripts without spaces is a word")
  func charactersAreWordsWhereNothingIsBetweenThem() {
    #expect(Words.of("Hello, wörld 3.5: 你好 カナ!").map(String.init) == ["Hello", "wörld", "3", "5", "你", "好", "カ", "ナ"])
    #expect(Words.of(" …").isEmpty)
    let long = "请你用简单的话解释一下为什么天空在白天看起来是蓝色的而在日落的时候却变成了红色和橙色并且举一个例子说明"
    #expect(added([long, long.replacingOccurrences(of: "举一个", with: "给一个"), "请问明天的天气怎么样"]) == [true, false, true])
  }

  @Test("texts of fewer than three words are compared, too")
  func shortAndEmptyTextsCount() {
    #expect(added(["", "  ", "one two", "One, two!", "one three"]) == [true, false, true, false, true])
  }
}

extension [String] {
  /// Every second word first, which leaves hardly a run of three words.
  fileprivate var everySecondFirst: [String] {
    enumerated().filter { $0.offset % 2 == 1 }.map(\.element)
      + enumerated().filter { $0.offset % 2 == 0 }.map(\.element)
  }
}
