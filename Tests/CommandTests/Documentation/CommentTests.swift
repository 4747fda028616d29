import Foundation
import Testing

/// The words of comments in the sources: those of the pages, and a few more.
@Suite struct CommentTests {
  private static let wordsOfComments: [(pattern: String, instead: String)] = [
    (#"besides"#, "in addition to, except"), (#"somebody"#, "a user, another process"),
    (#"(breaks?|broke|broken|breaking) off"#, "interrupt, cut"), (#"turn(s|ed|ing)? away"#, "reject"),
    (#"(takes?|took|taken|taking) up"#, "accept, use"),
  ]

  private static func regex(_ patterns: [String]) throws -> Regex<AnyRegexOutput> {
    try Regex("\\b(?:\(patterns.joined(separator: "|")))\\b").ignoresCase()
  }

  @Test("comments use the field's words", arguments: ["Sources", "Tests", "Examples", "scripts", "Tools"])
  func words(folder: String) throws {
    let words = StyleTests.privateWords + Self.wordsOfComments
    let any = try Self.regex(words.map(\.pattern))
    let comments = SourceComment.all(in: folder)
    #expect(!comments.isEmpty)
    for comment in comments {
      guard let match = comment.text.firstMatch(of: any) else { continue }
      let word = String(comment.text[match.range])
      let known = try words.first { try word.wholeMatch(of: Self.regex([$0.pattern])) != nil }
      Issue.record("\(comment.path):\(comment.line): write `\(known?.instead ?? "")`, not `\(word)`")
    }
  }

  @Test("a comment is the text of its lines")
  func lines() {
    let source = """
      /// A sentence that goes
      /// over two lines.
      let a = 1  // not at the start of its line
        # A script.
      #expect(a == 1)
       * A block.
      """
    let comments = SourceComment.all(of: source, path: "x")
    #expect(comments.map(\.text) == ["A sentence that goes over two lines.", "A script.", "A block."])
    #expect(comments.map(\.line) == [1, 4, 6])
  }
}

/// Consecutive lines of a source file that are a comment.
private struct SourceComment {
  let path: String
  /// The number of the first line, from 1.
  let line: Int
  var text: String

  private static let extensions: Set<String> = ["swift", "c", "h", "modulemap", "py", ""]

  /// The comments of all source files and scripts in a folder of the repository, except fixtures.
  static func all(in folder: String) -> [SourceComment] {
    let names = FileManager.default.enumerator(atPath: "\(Page.root)/\(folder)")?.compactMap { $0 as? String } ?? []
    return names.sorted().filter { extensions.contains(($0 as NSString).pathExtension) && !$0.hasPrefix("Fixtures/") }
      .flatMap { name in
        let path = "\(folder)/\(name)"
        return all(of: (try? String(contentsOfFile: "\(Page.root)/\(path)", encoding: .utf8)) ?? "", path: path)
      }
  }

  /// The comments of a source file. An empty comment line ends a comment.
  static func all(of source: String, path: String) -> [SourceComment] {
    var (comments, isOpen) = ([SourceComment](), false)
    for (index, line) in source.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
      let text = text(of: line)
      if let text, isOpen {
        comments[comments.count - 1].text += " \(text)"
      } else if let text {
        comments.append(SourceComment(path: path, line: index + 1, text: String(text)))
      }
      isOpen = text != nil
    }
    return comments
  }

  /// The text of a line that consists of a comment; nil for any other line.
  private static func text(of line: Substring) -> Substring? {
    let line = line.drop { $0 == " " }
    return ["/// ", "// ", "# ", "* ", "/** ", "/* "].first(where: line.hasPrefix).map { line.dropFirst($0.count) }
  }
}
