import Foundation
import Testing

/// CONTRIBUTING.md asks for names, so that the list of tests is the list of requirements.
@Suite struct TestNameTests {
  @Test("each test has a display name") func testsHaveNames() throws {
    let files = Repository.files(in: "Tests", ["swift"])
    #expect(!files.isEmpty)
    for file in files {
      for line in TestNames.missing(in: try Repository.text(file)) {
        Issue.record("\(file):\(line): the first argument of @Test is not a display name")
      }
    }
  }

  // Not a literal in the examples, since the test would find it in this file.
  private let test = "@Test"

  @Test("tests without a display name are found, whether the attribute has one line or several")
  func missingNames() {
    let source = """
      \(test) func bare() {}
        \(test)("a name") func named() {}
      \(test)(arguments: [1]) func values(x: Int) {}
      @MainActor \(test)(
        .enabled(if: true), arguments: ["a", "b"])
      func trait(x: String) {}
      \(test)(
        #"a "name" below"#,
        arguments: [1])
      func below(x: Int) {}
      \(test)
      func alone() {}
      \(test)("") func empty() {}
      // \(test) func comment() {}
      @Tested func other() {}
      """
    #expect(TestNames.missing(in: source) == [1, 3, 4, 11, 13])
  }
}

enum TestNames {
  /// Numbers of the lines with a `@Test` whose first argument is not a string literal, or is an empty one.
  static func missing(in source: String) -> [Int] {
    let attribute = #/^ *(?:@\S+ +)*@Test\b(?!\(\s*#*"[^"])/#.anchorsMatchLineEndings()
    return source.matches(of: attribute).map { match in
      1 + source[..<match.startIndex].count { $0 == "\n" }
    }
  }
}
