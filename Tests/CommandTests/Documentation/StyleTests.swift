import Testing

/// The style rules of CONTRIBUTING.md for pages and comments.
@Suite struct StyleTests {
  @Test("prose has at most 100 columns, code 120", arguments: Page.all)
  func widths(page: Page) {
    for line in page.lines where !line.text.hasPrefix("|") && !line.text.contains(/https?:\/\/\S{60,}/) {
      #expect(line.text.count <= (line.isCode ? 120 : 100), "\(page.path):\(line.number)")
    }
  }

  @Test("sentences have at most 25 words", arguments: Page.english)
  func sentences(page: Page) {
    for sentence in page.sentences {
      let words = sentence.split(separator: " ").count
      #expect(words <= 25, "\(page.path): \(words) words: \(sentence)")
    }
  }

  /// Words that this project once had of its own, and the field's. Neither pages nor comments use them.
  static let privateWords: [(pattern: String, instead: String)] = [
    (#"fore(see|tell|told|saw)\w*"#, "predict"), (#"way back"#, "backward pass"),
    (#"in turn"#, "interleaved, alternately"), (#"ask(s|ed|ing)? for ahead"#, "prefetch"),
    (#"few-row"#, "small-M"), (#"(first|second) cache"#, "L1 or L2 cache"), (#"rooms?"#, "module, or scratch buffer"),
    (#"drawn"#, "sampled"), (#"whoever"#, "work stealing"), (#"surplus helper"#, "idle worker"),
    (#"(go|goes|going|went) on"#, "continue, resume"), (#"reckon\w*"#, "compute"),
    (#"numbers that are none"#, "non-finite values"),
    (#"beside"#, "next to, with"), (#"from nothing|for nothing"#, "without data"),
    (#"nobody"#, "no process, no user"), (#"lies? (side|behind|in)"#, "is"), (#"stands? (in|at)"#, "is"),
  ]

  /// Words that comments use in their usual sense.
  private static let wordsOfPages: [(pattern: String, instead: String)] = [
    (#"made[- ]up|makes? up"#, "synthetic"), (#"in place of"#, "instead of"),
    (#"takes? in|taken in|taking in"#, "prepare"),
  ]

  @Test("the field's words are used", arguments: Page.english)
  func words(page: Page) throws {
    for (pattern, instead) in Self.privateWords + Self.wordsOfPages {
      let pattern = try Regex("\\b(?:\(pattern))\\b").ignoresCase()
      for paragraph in page.paragraphs {
        let found = paragraph.firstMatch(of: pattern).map { String(paragraph[$0.range]) }
        #expect(found == nil, "\(page.path): write `\(instead)`: \(paragraph.prefix(200))")
      }
    }
  }

  @Test("a page is taken apart as a reader sees it")
  func pages() {
    let page = Page(
      path: "x.md",
      text: """
        # A `title`, twice

        One sentence. Another, with a [link](a.md#b) and
        `code that is long`: Here.

        | a | table. Not read |
        - an item
        ```
        code
        ```
        ## A title, twice
        """)
    #expect(
      page.sentences == [
        "One sentence. ", "Another, with a link and CODE: ", "Here.", "an item",
      ])
    #expect(page.anchors == ["a-title-twice", "a-title-twice-1"])
    #expect(page.lines.filter(\.isCode).count == 3)
  }
}
