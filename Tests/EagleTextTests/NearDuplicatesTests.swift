import EagleText
import Testing

@Suite struct NearDuplicatesTests {
  private static let words = [
    "river", "stone", "quiet", "market", "window", "bright", "seven", "paper", "garden", "salt",
  ]

  private func text(_ seed: Int) -> [String] {
    (0..<40).map { Self.words[($0 * 37 + seed * 11) % 10] + "\(($0 * 101 + seed * 53 + $0 * $0) % 89)" }
  }

  /// Which texts are added, one after another.
  private func added(_ texts: [String]) -> [Bool] {
    var known = NearDuplicates()
    return texts.map { known.insert($0) }
  }

  @Test func nearlyEqualTextsAreFoundAndOthersNot() {
    let texts = (0..<30).map(text)
    let changed = texts.map { words in (words[..<20] + ["changed"] + words[21...]).joined(separator: ", ").uppercased()
    }
    let all = texts.map { $0.joined(separator: " ") } + changed + [text(3).everySecondFirst.joined(separator: " ")]
    #expect(added(all) == [Bool](repeating: true, count: 30) + [Bool](repeating: false, count: 30) + [true])
  }

  @Test func shortAndEmptyTextsCount() {
    #expect(added(["", "  ", "one two", "One, two!", "one three"]) == [true, false, true, false, true])
  }
}

extension [String] {
  /// Every second word first: hardly a run of three is left.
  fileprivate var everySecondFirst: [String] {
    enumerated().filter { $0.offset % 2 == 1 }.map(\.element)
      + enumerated().filter { $0.offset % 2 == 0 }.map(\.element)
  }
}
