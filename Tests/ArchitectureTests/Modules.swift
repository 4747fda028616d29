import Foundation

/// The table of modules in docs/internals/architecture.md, which is the only one.
struct Modules {
  struct Module: Equatable {
    let name: String
    /// C libraries and packages that it may import.
    let libraries: Set<String>
    /// Modules and libraries that it may not link, directly or through others.
    let banned: Set<String>
  }

  let list: [Module]

  /// Reads the table rows under the heading "Modules".
  init(markdown: String) {
    let section = markdown.components(separatedBy: "\n## ").first { $0.hasPrefix("Modules\n") } ?? ""
    list = section.split(separator: "\n").filter { $0.hasPrefix("| `") }.map { row in
      let cells = row.split(separator: "|", omittingEmptySubsequences: true).map(Self.names)
      return Module(
        name: cells[0].first ?? "", libraries: Set(cells.count > 2 ? cells[2] : []),
        banned: Set(cells.count > 3 ? cells[3] : []))
    }
  }

  /// The names between backquotes.
  private static func names(in cell: Substring) -> [String] {
    cell.split(separator: "`", omittingEmptySubsequences: false).enumerated()
      .compactMap { $0.offset % 2 == 1 ? String($0.element) : nil }
  }

  /// The reason why `module` may not import `imported`, or nil when it may.
  func objection(to imported: String, in module: String) -> String? {
    guard let own = list.firstIndex(where: { $0.name == module }) else { return "\(module) is not in the table" }
    if imported == module || Self.system.contains(imported) || list[own].libraries.contains(imported) { return nil }
    guard let other = list.firstIndex(where: { $0.name == imported }), !isDoor(imported) else {
      return "\(module) does not name \(imported) among its libraries"
    }
    return other >= own ? "\(imported) is listed after \(module)" : nil
  }

  /// The dependency paths from modules to targets that they may not link, each as `A -> B -> C`.
  func violations(in graph: TargetGraph) -> [String] {
    list.flatMap { module in
      module.banned.sorted().compactMap { banned in
        graph.path(from: module.name, to: banned).map { $0.joined(separator: " -> ") }
      }
    }
  }

  /// Whether a module is a C module, which only modules that name it may import.
  private func isDoor(_ module: String) -> Bool {
    list.contains { $0.libraries.contains(module) }
  }

  /// Modules that come with the toolchain.
  private static let system: Set<String> = [
    "Swift", "Foundation", "FoundationEssentials", "Glibc", "Musl", "Darwin", "Dispatch", "Synchronization",
  ]
}

/// The targets of a package manifest and their dependencies.
struct TargetGraph {
  /// Names of targets and of products of other packages, by the target that names them.
  let dependencies: [String: [String]]

  /// Reads `name:` and `dependencies:` of every target of a manifest.
  init(manifest: String) {
    let target =
      #/\.(?:target|executableTarget|systemLibrary)\(\s*name: "([^"]+)"(?:,\s*dependencies: \[((?:[^\]"]|"[^"]*")*)\])?/#
    var dependencies: [String: [String]] = [:]
    for match in manifest.matches(of: target) {
      let text = String(match.output.2 ?? "").replacing(#/package: "[^"]+"/#, with: "")
      dependencies[String(match.output.1)] = text.matches(of: #/"([^"]+)"/#).map { String($0.output.1) }
    }
    self.dependencies = dependencies
  }

  /// A shortest path along dependencies; nil if there is none.
  func path(from start: String, to end: String) -> [String]? {
    var (paths, seen) = ([[start]], Set([start]))
    while !paths.isEmpty {
      let path = paths.removeFirst()
      for next in dependencies[path.last ?? ""] ?? [] where !seen.contains(next) {
        if next == end { return path + [next] }
        seen.insert(next)
        paths.append(path + [next])
      }
    }
    return nil
  }

  /// The dependencies between modules without transitive ones, as lines of a Mermaid flowchart.
  func drawing(of modules: [String]) -> [String] {
    modules.flatMap { module in
      let direct = (dependencies[module] ?? []).filter(modules.contains)
      return direct.filter { other in
        !direct.contains { $0 != other && path(from: $0, to: other) != nil }
      }.sorted().map { "  \(module) --> \($0)" }
    }
  }
}

/// The files of the project, found from the path of this file.
enum Repository {
  static let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  static func text(_ path: String) throws -> String {
    try String(contentsOf: root.appendingPathComponent(path), encoding: .utf8)
  }

  static func modules() throws -> Modules { Modules(markdown: try text("docs/internals/architecture.md")) }

  static func graph() throws -> TargetGraph { TargetGraph(manifest: try text("Package.swift")) }

  /// Names of the folders in `Sources`.
  static func sourceFolders() throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: root.appendingPathComponent("Sources").path)
      .filter { !$0.hasPrefix(".") }.sorted()
  }

  /// Paths of all Swift files of a module, relative to the root.
  static func swiftFiles(of module: String) -> [String] { files(of: module, ["swift"]) }

  /// Paths of the files of a module whose names end with one of these extensions, relative to the root.
  static func files(of module: String, _ extensions: Set<String>) -> [String] {
    files(in: "Sources/\(module)", extensions)
  }

  /// Paths of the files in a folder whose names end with one of these extensions, relative to the root.
  static func files(in folder: String, _ extensions: Set<String>) -> [String] {
    let path = root.appendingPathComponent(folder).path
    let files = FileManager.default.enumerator(atPath: path)?.compactMap { $0 as? String } ?? []
    return files.filter { extensions.contains(URL(fileURLWithPath: $0).pathExtension) }.sorted().map {
      "\(folder)/\($0)"
    }
  }

  /// Names of the targets of the library product, which are the modules with public declarations.
  static func publicModules() throws -> [String] {
    let product = #/\.library\(\s*name: "EagleTrain",\s*targets: \[([^\]]*)\]/#
    let targets = try text("Package.swift").firstMatch(of: product)?.output.1 ?? ""
    return targets.matches(of: #/"(\w+)"/#).map { String($0.output.1) }
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
