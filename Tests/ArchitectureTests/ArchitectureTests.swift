import Foundation
import Testing

@Suite struct ArchitectureTests {
  @Test func theListOfRoomsIsTheFoldersInSources() throws {
    let listed = try Repository.rooms().list.map(\.name)
    #expect(listed.sorted() == (try Repository.sourceFolders()))
  }

  @Test func importsGoDownTheListOfRooms() throws {
    let rooms = try Repository.rooms()
    for room in rooms.list {
      for file in Repository.swiftFiles(of: room.name) {
        for module in Repository.imports(in: try Repository.text(file)) {
          let objection = rooms.objection(to: module, in: room.name)
          #expect(objection == nil, "\(file): import \(module): \(objection ?? "")")
        }
      }
    }
  }

  @Test func theRunCommandKnowsNothingOfMPI() throws {
    let imported = Set(
      try Repository.swiftFiles(of: "eagle-run").flatMap { Repository.imports(in: try Repository.text($0)) })
    #expect(imported.isDisjoint(with: ["CMPI", "EagleCluster"]))
  }

  @Test func librariesAreSilentAndSurviveBadInput() throws {
    let forbidden = try Regex(#"\bprint\(|\btry!|\bfatalError\(|\bas!"#)
    for room in try Repository.sourceFolders() where room.hasPrefix("Eagle") {
      for file in Repository.swiftFiles(of: room) {
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

/// A rule that nothing can break proves nothing: the reader of rooms and imports must see what is wrong.
@Suite struct RoomsTests {
  private let rooms = Rooms(
    markdown: """
      # Title

      ## Rooms

      | room | what lives there | libraries | never |
      |---|---|---|---|
      | `CDoor` | a door | | |
      | `Low` | below | `CDoor` `Package` | |
      | `Middle` | between | | |
      | `High` | above all | | `Low` |

      ## Decisions
      | `NoRoom` | another table | | |
      """)

  @Test func theTableIsRead() throws {
    try #require(rooms.list.map(\.name) == ["CDoor", "Low", "Middle", "High"])
    #expect(rooms.list[1].libraries == ["CDoor", "Package"])
    #expect(rooms.list[3].banned == ["Low"])
  }

  @Test func importsAreJudged() {
    #expect(rooms.objection(to: "Low", in: "Middle") == nil)
    #expect(rooms.objection(to: "CDoor", in: "Low") == nil)
    #expect(rooms.objection(to: "Foundation", in: "High") == nil)
    #expect(rooms.objection(to: "Middle", in: "Low") == "Middle stands below Low")
    #expect(rooms.objection(to: "Low", in: "High") == "High must never import Low")
    #expect(rooms.objection(to: "CDoor", in: "Middle") == "Middle does not name CDoor among its libraries")
    #expect(rooms.objection(to: "Unheard", in: "High") == "High does not name Unheard among its libraries")
  }

  @Test func importLinesAreFound() {
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
