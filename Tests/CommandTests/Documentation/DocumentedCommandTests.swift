import Foundation
import Testing

/// The commands in the documentation.
@Suite struct DocumentedCommandTests {
  private static let pages = Page.texts { $0.hasSuffix(".md") || $0.hasSuffix(".yaml") }.map(\.path)

  private static func text(_ page: String) throws -> String {
    try String(contentsOfFile: "\(Command.root)/\(page)", encoding: .utf8)
  }

  @Test("each mention of a command with flags names a subcommand and flags that exist", arguments: pages)
  func commandsExist(page: String) throws {
    for mention in Mention.all(in: try Self.text(page)) {
      let help = try Help.text(of: mention.path)
      #expect(help != nil, "\(page): there is no `\(mention.path.joined(separator: " "))`")
      for flag in mention.flags {
        #expect(help?.contains(flag) == true, "\(page): `\(mention.path.joined(separator: " "))` has no \(flag)")
      }
    }
  }

  @Test("mentions of commands are found with their subcommands and flags") func mentionsAreFound() throws {
    let text = """
      Run `mpirun -np 2 --bind-to none eagle-train run recipe.yaml --set a.b=1`, or
      `eagle-train bench train` and
      eagle-run chat     --target DIR [--draft DIR]                  turn by turn
      """
    let found = Mention.all(in: text)
    #expect(found.map(\.path) == [["eagle-train", "run"], ["eagle-train", "bench", "train"], ["eagle-run", "chat"]])
    #expect(found.map(\.flags) == [["--set"], [], ["--target", "--draft"]])
    #expect(try Help.text(of: ["eagle-train", "dance"]) == nil)
  }

  @Test(
    "the tutorial runs from its first command to its last, in both languages",
    arguments: ["tutorial", "tutorial.zh-CN"])
  func theTutorialRuns(page: String) throws {
    let world = try TinyWorld()
    try FileManager.default.createDirectory(atPath: world("models"), withIntermediateDirectories: true)
    try FileManager.default.moveItem(atPath: world("target"), toPath: world("models/my-model"))
    let blocks = try Self.text("docs/guide/\(page).md").matches(of: /```(sh|json|yaml) ?([\w.-]*)\n((?s).*?)```/)
    #expect(blocks.count >= 8)
    for block in blocks {
      let (kind, name, content) = (String(block.1), String(block.2), String(block.3))
      if kind == "sh" {
        let outcome = try Shell.run(content, in: world)
        #expect(outcome.status == 0, "\(content)\(outcome.errors.suffix(2000))")
      } else {
        // The small model has 259 tokens.
        try world.put(name, content.replacingOccurrences(of: "vocabulary_size: 8192", with: "vocabulary_size: 128"))
      }
    }
    for file in ["answers/made-up.jsonl", "checkpoints/my-model/export/model.safetensors"] {
      #expect(FileManager.default.fileExists(atPath: world(file)), "\(file)")
    }
  }

  /// A public declaration that documents one parameter must document all of them, under their names.
  @Test("scripts/docs succeeds and writes the reference of the library") func pagesOfTheInterfaceAreMade() throws {
    let outcome = try Command.run("\(Command.root)/scripts/docs", [])
    #expect(outcome.status == 0, "\(outcome.errors.suffix(4000))")
    #expect(FileManager.default.fileExists(atPath: "\(Command.root)/.build/documentation/index.html"))
  }
}

/// A command in a text, with the flags after it in the same line or code span.
private struct Mention {
  /// Program and subcommands.
  let path: [String]
  let flags: [String]

  private static let groups = ["bench"]

  static func all(in text: String) -> [Mention] {
    text.split(separator: "\n").flatMap { line in
      line.matches(of: /\b(eagle-train|eagle-run) ([a-z]+\b(?:\|[a-z]+)*)((?: +[a-z]+\b)?)([^`#]*)/).map { match in
        var path = [String(match.1), String(match.2.split(separator: "|")[0])]
        let next = match.3.trimmingCharacters(in: .whitespaces)
        if path[0] == "eagle-train" && groups.contains(path[1]) && !next.isEmpty { path.append(next) }
        return Mention(path: path, flags: match.4.matches(of: /--[a-z][a-z-]+/).map { String($0.0) })
      }
    }
  }
}

/// Help texts of the built programs, each requested once.
private enum Help {
  private final class Known: @unchecked Sendable {
    private let lock = NSLock()
    private var texts: [[String]: String?] = [:]

    func text(_ path: [String], _ make: () throws -> String?) rethrows -> String? {
      try lock.withLock {
        if let text = texts[path] { return text }
        let text = try make()
        texts[path] = .some(text)
        return text
      }
    }
  }

  private static let known = Known()

  /// The help text of a command; nil if there is no such command.
  static func text(of path: [String]) throws -> String? {
    try known.text(path) {
      let outcome = try Command.run(path[0], Array(path.dropFirst()) + ["--help"])
      // An unknown subcommand gets the help of the command above it.
      let usage = outcome.output.matches(of: /USAGE: ([a-z -]+)/).first.map { String($0.1) } ?? ""
      return outcome.status == 0 && usage.hasPrefix(path.joined(separator: " ")) ? outcome.output : nil
    }
  }
}
