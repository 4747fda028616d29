import Foundation
import Testing

@Suite struct ArchitectureTests {
  @Test("the table of modules names the folders of Sources")
  func tableIsComplete() throws {
    let listed = try Repository.modules().list.map(\.name)
    #expect(listed.sorted() == (try Repository.sourceFolders()))
  }

  @Test("a file imports only modules that are listed before its own, and libraries that its module names")
  func importsGoDown() throws {
    let modules = try Repository.modules()
    for module in modules.list {
      for file in Repository.swiftFiles(of: module.name) {
        for imported in Repository.imports(in: try Repository.text(file)) {
          let objection = modules.objection(to: imported, in: module.name)
          #expect(objection == nil, "\(file): import \(imported): \(objection ?? "")")
        }
      }
    }
  }

  @Test("the dependencies in Package.swift are the modules that files of the target import")
  func importsAreDeclared() throws {
    let (modules, graph) = (try Repository.modules(), try Repository.graph())
    let names = Set(modules.list.map(\.name))
    for module in modules.list {
      let imports = try Repository.swiftFiles(of: module.name).flatMap {
        Repository.imports(in: try Repository.text($0))
      }
      let declared = Set(graph.dependencies[module.name] ?? [])
      #expect(Set(imports).intersection(names) == declared.intersection(names), "\(module.name)")
    }
  }

  @Test("no module reaches what it may never link, by whatever way")
  func bansHoldThroughOthers() throws {
    #expect(try Repository.modules().violations(in: try Repository.graph()) == [])
  }

  @Test("docs/internals/architecture.md draws the dependencies of Package.swift; EAGLE_RECORD_GRAPH=1 draws them again")
  func drawingIsCurrent() throws {
    let names = try Repository.modules().list.map(\.name).filter { $0.lowercased().hasPrefix("eagle") }
    let drawing = try Repository.graph().drawing(of: names).joined(separator: "\n")
    let (page, block) = (try Repository.text("docs/internals/architecture.md"), #/```mermaid\nflowchart TD\n[^`]*```/#)
    let new = page.replacing(block, with: "```mermaid\nflowchart TD\n\(drawing)\n```")
    #expect(page.contains(block))
    guard ProcessInfo.processInfo.environment["EAGLE_RECORD_GRAPH"] == nil else {
      try new.write(
        to: Repository.root.appendingPathComponent("docs/internals/architecture.md"), atomically: true, encoding: .utf8)
      return
    }
    #expect(page == new, "run scripts/module-graph")
  }

  @Test("the model and the tape alone choose the kernels of matrix products")
  func kernelsAreChosenBelow() throws {
    let modeNames = try Regex(#"\bMatmulMode\b|\.batchInvariant\("#)
    let choosers: Set = ["EagleTensor", "EagleAutograd", "EagleModels", "EagleDraft"]
    for module in try Repository.sourceFolders() where !choosers.contains(module) {
      for file in Repository.swiftFiles(of: module) {
        #expect(!(try Repository.text(file).contains(modeNames)), "\(file)")
      }
    }
  }

  @Test("only modules of the library product have public declarations")
  func publicDeclarationsAreProduct() throws {
    let product = try #require(try Repository.text("Package.swift").firstMatch(of: #/\.library\([^\]]*\]\)/#)).output
    let declaration = #/^\s*(@\S+ )*public /#.anchorsMatchLineEndings()
    for module in try Repository.sourceFolders() {
      let isPublic = try Repository.swiftFiles(of: module).contains {
        try Repository.text($0).contains(declaration)
      }
      #expect(isPublic == product.contains("\"\(module)\""), "\(module)")
    }
  }

  @Test("Swift code in documents and in documentation comments is quoted from Examples")
  func examplesAreQuoted() throws {
    let examples = try Repository.files(in: "Examples", ["swift"]).map { try Repository.text($0) }
    let texts =
      ["docs/guide/swift.md", "Sources/EagleDecoding/DecodingSession.swift", "Sources/EagleRun/RecipeRun.swift"]
    let pages = Repository.files(in: "Sources", ["md"]).filter { $0.contains("/Documentation.docc/") }
    var blocks: [String: Int] = [:]
    for file in texts + pages {
      let text = try Repository.text(file).replacing(#/^/// ?/#.anchorsMatchLineEndings(), with: "")
      for block in Quotation.blocks(in: text) {
        blocks[file, default: 0] += 1
        #expect(examples.contains { Quotation.isQuoted(block, from: $0) }, "\(file): \(block)")
      }
    }
    let quoted = texts.compactMap { blocks[$0] }
    #expect(quoted.reduce(0, +) == 5)
    for module in try Repository.publicModules() {
      let page = "Sources/\(module)/Documentation.docc/\(module).md"
      #expect(blocks[page] == 1, "\(page) has one example")
    }
  }

  @Test("no timeout follows the wall clock, which may be set while it lasts")
  func timeoutsAreMonotonic() throws {
    let forbidden = try Regex(
      #"wait\(until: Date|timeIntervalSinceNow|Date\(\) ?(\.addingTimeInterval|\+|-)"#)
    for module in try Repository.sourceFolders() {
      for file in Repository.swiftFiles(of: module) {
        #expect(try !Repository.text(file).contains(forbidden), "\(file)")
      }
    }
  }

  @Test("libraries never print, and never trap on bad input")
  func librariesAreSilent() throws {
    let forbidden = try Regex(#"\bprint\(|\btry!|\bfatalError\(|\bas!"#)
    for module in try Repository.sourceFolders() where module.hasPrefix("Eagle") {
      for file in Repository.swiftFiles(of: module) {
        let lines = try Repository.text(file).split(separator: "\n", omittingEmptySubsequences: false)
        for (number, line) in lines.enumerated() where !line.trimmingPrefix(while: \.isWhitespace).hasPrefix("//") {
          #expect(!line.contains(forbidden), "\(file):\(number + 1): \(line)")
        }
      }
    }
  }

  @Test("standard output and standard error are written by EagleCore's Output alone")
  func outputHasOnePlace() throws {
    let forbidden = try Regex(
      #"FileHandle\.standard(Output|Error)|\b(print|debugPrint|dump|puts|fputs|fwrite|fprintf|printf|perror|NSLog)\s*\(|"#
        + #"\bSTD(OUT|ERR)_FILENO\b|\bstd(out|err)\b|/dev/(stdout|stderr|fd)"#)
    let asksForTerminal = try Regex(#"\b(isatty|ioctl)\("#)
    for folder in try Repository.sourceFolders() where folder != "EagleCore" {
      for file in Repository.files(of: folder, ["swift", "c", "h"]) {
        for (number, line) in try Repository.text(file).components(separatedBy: "\n").enumerated() {
          if line.trimmingPrefix(while: \.isWhitespace).hasPrefix("//") || line.contains(asksForTerminal) { continue }
          #expect(!line.contains(forbidden), "\(file):\(number + 1): \(line)")
        }
      }
    }
  }
}

/// Tests of the rule's own parsers: the readers of the table, of imports and of the manifest must detect violations.
@Suite struct ModulesTests {
  private let modules = Modules(
    markdown: """
      # Title

      ## Modules

      | module | responsibility | libraries | never |
      |---|---|---|---|
      | `CDoor` | a door | | |
      | `Low` | below | `CDoor` `Package` | |
      | `Middle` | between | | |
      | `High` | above all | | `CDoor` |

      ## Decisions
      | `NoModule` | another table | | |
      """)

  private let manifest = """
    .systemLibrary(name: "CDoor", pkgConfig: "door"),
    .target(name: "Low", dependencies: ["CDoor", .product(name: "Thing", package: "thing-package")]),
    // A comment.
    .target(
      name: "Middle",
      dependencies: [
        "Low",
      ]),
    .target(name: "Alone"),
    .executableTarget(name: "High", dependencies: ["Alone", "Low", "Middle"]),
    .testTarget(name: "HighTests", dependencies: ["High"]),
    """

  @Test("rows of the table become modules")
  func table() throws {
    try #require(modules.list.map(\.name) == ["CDoor", "Low", "Middle", "High"])
    #expect(modules.list[1].libraries == ["CDoor", "Package"])
    #expect(modules.list[3].banned == ["CDoor"])
  }

  @Test("imports upward and of libraries that are not named are objected to")
  func imports() {
    #expect(modules.objection(to: "Low", in: "Middle") == nil)
    #expect(modules.objection(to: "CDoor", in: "Low") == nil)
    #expect(modules.objection(to: "Foundation", in: "High") == nil)
    #expect(modules.objection(to: "Middle", in: "Low") == "Middle is listed after Low")
    #expect(modules.objection(to: "CDoor", in: "Middle") == "Middle does not name CDoor among its libraries")
    #expect(modules.objection(to: "Unheard", in: "High") == "High does not name Unheard among its libraries")
  }

  @Test("a manifest's targets and dependencies are read, and a ban is found through other modules")
  func closure() {
    let graph = TargetGraph(manifest: manifest)
    #expect(graph.dependencies["Low"] == ["CDoor", "Thing"])
    #expect(graph.dependencies["High"] == ["Alone", "Low", "Middle"])
    #expect(graph.dependencies["Alone"] == [] && graph.dependencies["HighTests"] == nil)
    #expect(modules.violations(in: graph) == ["High -> Low -> CDoor"])
    #expect(
      graph.drawing(of: ["Low", "Middle", "Alone", "High"]) == [
        "  Middle --> Low", "  High --> Alone", "  High --> Middle",
      ])
  }

  @Test("import lines of every spelling are found")
  func importLines() {
    let source = """
      import Foundation
      @preconcurrency import Low
      public import struct Middle.Thing
        import High.Part
      // import Comment
      let imported = "import Nothing"
      """
    #expect(Repository.imports(in: source) == ["Foundation", "Low", "Middle", "High"])
  }
}
