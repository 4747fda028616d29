import EagleCore
import Foundation
import Testing

@Suite struct InstallTests {
  private func install(_ arguments: [String], into folder: String) throws -> Outcome {
    try Command.run(
      "\(Command.root)/scripts/install", arguments,
      environment: ["DESTDIR": folder, "PREFIX": "/opt/eagle", "EAGLE_BUILT": Command.binaries])
  }

  @Test("scripts/install installs programs, completions and manual pages, and removes them with --uninstall")
  func everythingHasItsPlaceAndGoesAgain() throws {
    let folder = NSTemporaryDirectory() + "/eagle-install-" + UUID().uuidString
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let outcome = try install([], into: folder)
    try #require(outcome.status == 0, "\(outcome.errors)")
    let root = "\(folder)/opt/eagle"
    for name in ["eagle-train", "eagle-run"] {
      #expect(FileManager.default.isExecutableFile(atPath: "\(root)/bin/\(name)"))
      let completion = "\(root)/share/bash-completion/completions/\(name)"
      let checked = try Command.run("/usr/bin/env", ["bash", "-n", completion])
      #expect(checked.status == 0 && checked.errors.isEmpty, "\(checked.errors)")
      #expect(try text("\(root)/share/zsh/site-functions/_\(name)").hasPrefix("#compdef \(name)"))
      #expect(try text("\(root)/share/fish/vendor_completions.d/\(name).fish").contains("complete -c"))
    }
    try checkPages("\(root)/share/man/man1")
    #expect(try install(["--uninstall"], into: folder).status == 0)
    let left = try FileManager.default.subpathsOfDirectory(atPath: root).filter { path in
      var isFolder: ObjCBool = false
      return FileManager.default.fileExists(atPath: "\(root)/\(path)", isDirectory: &isFolder) && !isFolder.boolValue
    }
    #expect(left.isEmpty, "\(left)")
  }

  /// A page for each command; every line that begins with a point must be a request of man(7).
  private func checkPages(_ folder: String) throws {
    let pages = try FileManager.default.contentsOfDirectory(atPath: folder)
    for page in ["eagle-train.1", "eagle-train-plan.1", "eagle-train-bench-gemm.1", "eagle-run.1", "eagle-run-chat.1"] {
      #expect(pages.contains(page))
    }
    let known = [".TH", ".SH", ".TP", ".PP", ".B", ".BR", ".I"]
    for page in pages {
      let lines = try text("\(folder)/\(page)").split(separator: "\n")
      let titles = lines.filter { $0.hasPrefix(".TH") }
      #expect(titles.count == 1 && titles.allSatisfy { $0.hasSuffix("\"") }, "\(page): \(lines.prefix(3))")
      for line in lines where line.hasPrefix(".") || line.hasPrefix("'") {
        #expect(known.contains { line == $0 || line.hasPrefix("\($0) ") }, "\(page): \(line)")
      }
    }
    let plan = try text("\(folder)/eagle-train-plan.1")
    #expect(plan.contains(".SH NAME\neagle\\-train\\-plan \\- ") && plan.contains("\\fB\\-\\-nodes\\fR"))
  }

  private func text(_ path: String) throws -> String { try String(contentsOfFile: path, encoding: .utf8) }

  @Test("scripts/install asks for a build when the programs are missing") func missingProgramsAreNamed() throws {
    let outcome = try Command.run(
      "\(Command.root)/scripts/install", [], environment: ["EAGLE_BUILT": "/nowhere", "DESTDIR": "/nowhere"])
    #expect(outcome.status == 1 && outcome.errors.contains("run make build first"))
  }
}
