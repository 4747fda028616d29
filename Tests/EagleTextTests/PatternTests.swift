import EagleText
import Testing

@Suite struct PatternTests {
  private func firstMatch(_ pattern: String, _ text: String, from start: Int = 0) throws -> Range<Int>? {
    let pattern = try CompiledPattern(pattern)
    return try Array(text.utf8).withUnsafeBufferPointer { bytes in
      try PatternMatcher().firstMatch(of: pattern, in: bytes, from: start)
    }
  }

  @Test("a match is a range of bytes") func matchesAreByteRanges() throws {
    #expect(try firstMatch(#"\p{L}+"#, "12 你好!") == 3..<9)
    #expect(try firstMatch("b", "abcb", from: 2) == 3..<4)
    #expect(try firstMatch("x", "abc") == nil)
    #expect(try firstMatch("x*", "") == 0..<0)
  }

  @Test("a pattern that does not compile is explained with its byte") func mistakesAreExplained() {
    let message = errorText { _ = try CompiledPattern("a(b") }
    #expect(message == "the pattern a(b does not compile: missing closing parenthesis at byte 3")
  }

  /// The JIT's stack is bounded; a match that needs a larger stack must succeed too.
  @Test("a match of a megabyte does not fail") func longMatchesDoNotFail() throws {
    let text = String(repeating: "ab", count: 500_000)
    #expect(try firstMatch("(?:a(?:b|c))+", text) == 0..<1_000_000)
    #expect(try firstMatch("(?:(a)(b)|(c))+$", text) == 0..<1_000_000)
  }

  @Test(
    "a pattern that backtracks without an end is an error in time, and no crash",
    arguments: ["(a+)+[bc]", "(a|aa)+[bc]", "a*a*a*a*[bc]"])
  func catastrophicPatterns(pattern: String) throws {
    let text = String(repeating: "a", count: 20_000)
    let message = errorText { _ = try firstMatch(pattern, text) }
    #expect(message.contains(pattern) && message.contains("not linear"), "\(message)")
  }
}
