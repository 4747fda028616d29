import Foundation
import Testing

@Suite struct LinkTests {
  @Test("links lead to files and headings that exist", arguments: Page.all)
  func links(page: Page) {
    let folder = URL(fileURLWithPath: "\(Page.root)/\(page.path)").deletingLastPathComponent()
    for match in page.text.matches(of: /\]\(([^)#\s]*)(?:#([^)\s]*))?\)/) where !match.1.contains("://") {
      let file = match.1.isEmpty ? "\(Page.root)/\(page.path)" : folder.appending(path: match.1).standardized.path
      #expect(FileManager.default.fileExists(atPath: file), "\(page.path): \(match.1)")
      guard let anchor = match.2, file.hasSuffix(".md") else { continue }
      let linked = Page(String(file.dropFirst(Page.root.count + 1)))
      #expect(linked.anchors.contains(String(anchor)), "\(page.path): \(match.1)#\(anchor)")
    }
  }

  @Test("the index of the documents names every page", arguments: Page.all.filter { $0.path.hasPrefix("docs/") })
  func index(page: Page) {
    let index = Page("docs/README.md").text
    #expect(page.path == "docs/README.md" || index.contains("](\(page.path.dropFirst("docs/".count)))"), "\(page.path)")
  }

  @Test("files that name a page of the documents name one that exists")
  func mentions() throws {
    for folder in ["Sources", "Tests", "scripts", "recipes", "Tools", "Examples", "Package.swift", "Makefile"] {
      let files = FileManager.default.enumerator(atPath: "\(Page.root)/\(folder)")?.compactMap { $0 as? String } ?? []
      for path in files.isEmpty ? [folder] : files.map({ "\(folder)/\($0)" }) {
        guard let text = try? String(contentsOfFile: "\(Page.root)/\(path)", encoding: .utf8) else { continue }
        for match in text.matches(of: /\bdocs\/[\w\/.-]+\.md/) where !path.hasPrefix("Tests/CommandTests/Documentation")
        {
          #expect(FileManager.default.fileExists(atPath: "\(Page.root)/\(match.0)"), "\(path): \(match.0)")
        }
      }
    }
  }
}
