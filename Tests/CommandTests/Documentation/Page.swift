import Foundation
import Testing

/// A Markdown page of the repository.
struct Page: CustomTestStringConvertible, Sendable {
  /// Its path from the root.
  let path: String
  let text: String
  var testDescription: String { path }

  static let root = Command.root

  /// Every page of the documentation, in the order of their paths.
  static let all = texts { $0.hasSuffix(".md") }

  /// Text files of the repository, in the order of their paths. Of data/ and checkpoints/, where runs write files, only
  /// the page counts.
  static func texts(where isWanted: (String) -> Bool) -> [Page] {
    let inFolders = ["docs", "recipes", "Tools", "Benchmarks"].flatMap { folder in
      (FileManager.default.enumerator(atPath: "\(root)/\(folder)")?.compactMap { $0 as? String } ?? [])
        .map { "\(folder)/\($0)" }
    }
    let others = [
      "README.md", "README.zh-CN.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/README.md", "checkpoints/README.md",
    ]
    return (others + inFolders).filter(isWanted).sorted().map(Page.init)
  }

  /// Pages in English.
  static var english: [Page] { all.filter { !$0.path.contains("zh-CN") } }

  init(_ path: String) {
    self.init(path: path, text: (try? String(contentsOfFile: "\(Self.root)/\(path)", encoding: .utf8)) ?? "")
  }

  init(path: String, text: String) { (self.path, self.text) = (path, text) }

  /// Lines with their numbers, and whether they are in a code block.
  var lines: [(number: Int, text: Substring, isCode: Bool)] {
    var isCode = false
    return text.split(separator: "\n", omittingEmptySubsequences: false).enumerated().map { index, line in
      let isFence = line.hasPrefix("```")
      if isFence { isCode.toggle() }
      return (index + 1, line, isCode || isFence)
    }
  }

  /// The commands of its blocks of kind `sh`, each in one line.
  var shellCommands: [String] {
    text.matches(of: /```sh\n((?s).*?)```/)
      .flatMap { $0.1.replacing("\\\n", with: "").split(separator: "\n").map(String.init) }
  }

  /// Paragraphs and list items in one line each, without tables, headings, code and the addresses of links.
  var paragraphs: [String] {
    var (paragraphs, current) = ([String](), [String]())
    func end() {
      if !current.isEmpty { paragraphs.append(Self.plain(current.joined(separator: " "))) }
      current = []
    }
    for line in lines {
      let content = line.text.trimmingCharacters(in: .whitespaces)
      if line.isCode || content.isEmpty || content.hasPrefix("|") || content.hasPrefix("#") || content.hasPrefix("![") {
        end()
      } else if let item = content.firstMatch(of: #/^(?:[-*]|\d+\.) /#) {
        end()
        current = [String(content[item.range.upperBound...])]
      } else {
        current.append(content)
      }
    }
    end()
    return paragraphs
  }

  private static func plain(_ paragraph: String) -> String {
    paragraph.replacing(/!\[[^\]]*\]\([^)]*\)/, with: "").replacing(/\[([^\]]*)\]\([^)]*\)/) { $0.1 }
      .replacing(/`[^`]*`/, with: "CODE").replacing("**", with: "")
  }

  /// Sentences of the paragraphs.
  var sentences: [String] {
    paragraphs.flatMap { paragraph in
      var (sentences, start) = ([String](), paragraph.startIndex)
      for end in paragraph.matches(of: /[.!?:]\s+(?=[A-Z0-9"'(*])/) {
        sentences.append(String(paragraph[start..<end.range.upperBound]))
        start = end.range.upperBound
      }
      return sentences + [String(paragraph[start...])]
    }
  }

  /// The anchors that a link can have after `#`.
  var anchors: Set<String> {
    var (anchors, counts) = (Set<String>(), [String: Int]())
    for line in lines where !line.isCode && line.text.hasPrefix("#") {
      let title = Self.plainTitle(line.text.drop { $0 == "#" }.trimmingCharacters(in: .whitespaces))
      let anchor = title.lowercased().filter { $0.isLetter || $0.isNumber || "-_ ".contains($0) }
        .replacing(" ", with: "-")
      let count = counts[anchor, default: 0]
      counts[anchor] = count + 1
      anchors.insert(count == 0 ? anchor : "\(anchor)-\(count)")
    }
    return anchors
  }

  private static func plainTitle(_ title: String) -> String {
    title.replacing(/\[([^\]]*)\]\([^)]*\)/) { $0.1 }.replacing(#/[`*]/#, with: "")
  }
}
