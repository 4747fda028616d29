import Foundation

/// The list of rooms in docs/architecture.md, which is the only one.
struct Rooms {
  struct Room: Equatable {
    let name: String
    /// C libraries and packages that it may import.
    let libraries: Set<String>
    /// Rooms that it may not import although they stand above it.
    let banned: Set<String>
  }

  let list: [Room]

  /// Reads the table rows under the heading "Rooms".
  init(markdown: String) {
    let section = markdown.components(separatedBy: "\n## ").first { $0.hasPrefix("Rooms\n") } ?? ""
    list = section.split(separator: "\n").filter { $0.hasPrefix("| `") }.map { row in
      let cells = row.split(separator: "|", omittingEmptySubsequences: true).map(Self.names)
      return Room(
        name: cells[0].first ?? "", libraries: Set(cells.count > 2 ? cells[2] : []),
        banned: Set(cells.count > 3 ? cells[3] : []))
    }
  }

  /// What stands between backquotes.
  private static func names(in cell: Substring) -> [String] {
    cell.split(separator: "`", omittingEmptySubsequences: false).enumerated()
      .compactMap { $0.offset % 2 == 1 ? String($0.element) : nil }
  }

  /// Why `room` may not import `module`, or nil when it may.
  func objection(to module: String, in room: String) -> String? {
    guard let own = list.firstIndex(where: { $0.name == room }) else { return "\(room) is no room" }
    if module == room || Self.system.contains(module) || list[own].libraries.contains(module) { return nil }
    guard let other = list.firstIndex(where: { $0.name == module }), !isDoor(module) else {
      return "\(room) does not name \(module) among its libraries"
    }
    if other >= own { return "\(module) stands below \(room)" }
    return list[own].banned.contains(module) ? "\(room) must never import \(module)" : nil
  }

  /// Rooms in C are open only to the rooms that name them.
  private func isDoor(_ module: String) -> Bool {
    list.contains { $0.libraries.contains(module) }
  }

  /// Modules that come with the toolchain.
  private static let system: Set<String> = [
    "Swift", "Foundation", "FoundationEssentials", "Glibc", "Musl", "Darwin", "Dispatch", "Synchronization",
  ]
}

/// The Swift files of the project, found from where this file lies.
enum Repository {
  static let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  static func text(_ path: String) throws -> String {
    try String(contentsOf: root.appendingPathComponent(path), encoding: .utf8)
  }

  static func rooms() throws -> Rooms { Rooms(markdown: try text("docs/architecture.md")) }

  /// Names of the folders in `Sources`.
  static func sourceFolders() throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: root.appendingPathComponent("Sources").path)
      .filter { !$0.hasPrefix(".") }.sorted()
  }

  /// Paths of all Swift files of a room, relative to the root.
  static func swiftFiles(of room: String) -> [String] { files(of: room, ["swift"]) }

  /// The same for other kinds of files, by the ends of their names.
  static func files(of room: String, _ extensions: Set<String>) -> [String] {
    let folder = root.appendingPathComponent("Sources/\(room)").path
    let files = FileManager.default.enumerator(atPath: folder)?.compactMap { $0 as? String } ?? []
    return files.filter { extensions.contains(URL(fileURLWithPath: $0).pathExtension) }.sorted().map {
      "Sources/\(room)/\($0)"
    }
  }

  /// Modules in the import lines of a file.
  static func imports(in source: String) -> [String] {
    source.split(separator: "\n").compactMap { line in
      var words = line.split(whereSeparator: \.isWhitespace).filter { !$0.hasPrefix("@") }
      if let first = words.first, ["public", "package", "internal", "private", "fileprivate"].contains(first) {
        words.removeFirst()
      }
      guard words.first == "import", words.count > 1 else { return nil }
      let kinds: Set<Substring> = ["struct", "class", "enum", "protocol", "func", "var", "let", "typealias"]
      let path = kinds.contains(words[1]) && words.count > 2 ? words[2] : words[1]
      return path.split(separator: ".").first.map(String.init)
    }
  }
}
