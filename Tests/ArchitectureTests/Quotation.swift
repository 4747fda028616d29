import Testing

/// Swift code in a document. An example must contain it, so that it is compiled.
enum Quotation {
  /// The contents of the blocks of Swift code in a Markdown text.
  static func blocks(in markdown: String) -> [String] {
    markdown.matches(of: #/```swift\n([^`]*)```/#).map { String($0.output.1) }
  }

  /// Whether some consecutive lines of `source` are those of `block`, except for a common indentation.
  static func isQuoted(_ block: String, from source: String) -> Bool {
    let (wanted, all) = (outdented(lines(of: block)), lines(of: source))
    guard !wanted.isEmpty, wanted.count <= all.count else { return false }
    return (0...all.count - wanted.count).contains { start in
      outdented(Array(all[start..<start + wanted.count])) == wanted
    }
  }

  /// The lines of a text, without the empty one after its last line break.
  private static func lines(of text: String) -> [Substring] {
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    return lines.last?.isEmpty == true ? Array(lines.dropLast()) : lines
  }

  /// The lines without their common leading spaces; empty lines do not count.
  private static func outdented(_ lines: [Substring]) -> [Substring] {
    let margins = lines.filter { !$0.isEmpty }.map { line in line.prefix { $0 == " " }.count }
    let margin = margins.min() ?? 0
    return lines.map { $0.dropFirst(margin) }
  }
}

@Suite struct QuotationTests {
  private let source = """
    func show() {
      let first = 1

      if first > 0 {
        print(first)
      }
    }
    """

  @Test("a block may have another indentation than the example, and no other lines")
  func indentation() {
    #expect(Quotation.isQuoted("let first = 1\n\nif first > 0 {\n  print(first)\n}\n", from: source))
    #expect(Quotation.isQuoted("  if first > 0 {\n    print(first)\n", from: source))
    #expect(!Quotation.isQuoted("let first = 1\nif first > 0 {\n", from: source))
    #expect(!Quotation.isQuoted("if first > 0 {\nprint(first)\n}\n", from: source))
    #expect(!Quotation.isQuoted("let first\n", from: source))
    #expect(!Quotation.isQuoted("", from: source))
  }

  @Test("blocks of Swift code are found, and no others")
  func blocks() {
    let fence = "```"
    let page = "Text\n\(fence)swift\nlet a = 1\n\(fence)\nmore\n\(fence)\nmake docs\n\(fence)\n"
    #expect(Quotation.blocks(in: page) == ["let a = 1\n"])
  }
}
