import EagleCore
import EagleStorage
import Foundation
import Testing

@Suite struct CheckpointTests {
  private func write(_ step: Int, _ scratch: Scratch, content: String = "weights") throws {
    let name = CheckpointFolder.name(step: step)
    try CheckpointFolder.write(parent: scratch("run"), name: name, info: Data("{\"step\":\(step)}".utf8)) { folder in
      try AtomicFile.write(path: "\(folder)/draft.safetensors", data: Data("\(content) \(step)".utf8))
      try FileManager.default.createDirectory(atPath: "\(folder)/state", withIntermediateDirectories: false)
      try AtomicFile.write(path: "\(folder)/state/adam.bin", data: noise(1000))
    }
  }

  private func newest(_ scratch: Scratch) throws -> (name: String?, reports: [String]) {
    var reports: [String] = []
    let found = try CheckpointFolder.newestValid(in: scratch("run")) { reports.append($0) }
    return (found?.name, reports)
  }

  @Test("a checkpoint comes back with its name, step, info and files")
  func writtenAndOpened() throws {
    let scratch = try Scratch()
    try write(123, scratch)
    #expect(try scratch.entries("run") == ["latest", "step-00000123"])
    #expect(try scratch.entries("run/step-00000123") == ["draft.safetensors", "info.json", "manifest.json", "state"])
    #expect(try CheckpointFolder.target(of: "latest", in: scratch("run")) == "step-00000123")
    let checkpoint = try CheckpointFolder.open(scratch("run/step-00000123"))
    #expect(checkpoint.step == 123 && checkpoint.info == Data("{\"step\":123}".utf8))
    #expect(try Data(contentsOf: URL(fileURLWithPath: checkpoint.path(of: "state/adam.bin"))) == noise(1000))
    #expect(try CheckpointFolder.open(scratch("run/step-00000123/")).name == "step-00000123")
  }

  @Test("a checkpoint's manifest holds size and SHA-256 of each file")
  func manifestNamesSizesAndSums() throws {
    let scratch = try Scratch()
    try write(1, scratch)
    let json = try #require(
      try JSONSerialization.jsonObject(with: scratch.read("run/step-00000001/manifest.json")) as? [String: Any])
    let files = try #require(json["files"] as? [[String: Any]])
    #expect(files.compactMap { $0["path"] as? String } == ["draft.safetensors", "info.json", "state/adam.bin"])
    #expect(files[2]["size"] as? Int == 1000)
    #expect(files[2]["sha256"] as? String == FileDigest.sha256(noise(1000)))
  }

  @Test("a checkpoint that cannot be written leaves the earlier ones as they were")
  func failedWriteChangesNothing() throws {
    struct Stop: Error {}
    let scratch = try Scratch()
    try write(1, scratch)
    for name in ["step-00000001", "step-00000002"] {
      #expect(throws: Stop.self) {
        try CheckpointFolder.write(parent: scratch("run"), name: name, info: Data()) { folder in
          try AtomicFile.write(path: "\(folder)/half", data: Data("x".utf8))
          throw Stop()
        }
      }
    }
    #expect(try scratch.entries("run") == ["latest", "step-00000001"])
    #expect(try newest(scratch).name == "step-00000001")
  }

  @Test("a checkpoint of the same step is replaced") func sameStepIsReplaced() throws {
    let scratch = try Scratch()
    try write(1, scratch)
    try write(1, scratch, content: "other")
    #expect(try scratch.read("run/step-00000001/draft.safetensors") == Data("other 1".utf8))
    #expect(try scratch.entries("run") == ["latest", "step-00000001"])
  }

  @Test("the newest valid checkpoint is taken, and damaged ones are reported")
  func damagedOnesArePassedOver() throws {
    let scratch = try Scratch()
    #expect(try newest(scratch) == (nil, []))
    for step in [9, 10, 100_000_000, 11] { try write(step, scratch) }
    #expect(try newest(scratch) == ("step-100000000", []))
    // same size, another content · another size · no manifest
    try scratch.put("run/step-100000000/draft.safetensors", "WEIGHTS 100000000")
    try scratch.put("run/step-00000011/info.json", "{}")
    try FileManager.default.removeItem(atPath: scratch("run/step-00000010/manifest.json"))
    let (name, reports) = try newest(scratch)
    #expect(name == "step-00000009" && reports.count == 3)
    #expect(reports[0].contains("step-100000000") && reports[0].contains("draft.safetensors: its SHA-256 is"))
    #expect(reports[1].contains("step-00000011/info.json: has 2 bytes, the manifest says 11"))
    #expect(reports[2].contains("step-00000010/manifest.json: is missing or not a manifest"))
    try FileManager.default.removeItem(atPath: scratch("run/step-00000009/state/adam.bin"))
    #expect(try newest(scratch).name == nil)
  }

  @Test("the folder of a killed writer is ignored, and removed by the next write")
  func folderOfAKilledWriterIsIgnoredAndRemoved() throws {
    let scratch = try Scratch()
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/true")
    try process.run()
    process.waitUntilExit()
    try write(1, scratch)
    let leftover = "run/.step-00000002.tmp-\(process.processIdentifier)"
    try FileManager.default.copyItem(atPath: scratch("run/step-00000001"), toPath: scratch(leftover))
    #expect(try newest(scratch).name == "step-00000001")
    try write(3, scratch)
    #expect(try scratch.entries("run") == ["latest", "step-00000001", "step-00000003"])
  }

  @Test("pruning keeps the newest checkpoints, the named ones and latest")
  func pruneKeepsWhatCounts() throws {
    let scratch = try Scratch()
    for step in 1...6 { try write(step, scratch) }
    try FileManager.default.removeItem(atPath: scratch("run/step-00000005/state/adam.bin"))
    try CheckpointFolder.point("best", to: "step-00000002", in: scratch("run"))
    try CheckpointFolder.prune(in: scratch("run"), keep: 2, also: ["step-00000002"])
    // 5 is damaged and does not count, so 6 and 4 are the newest two.
    #expect(try scratch.entries("run") == ["best", "latest", "step-00000002", "step-00000004", "step-00000006"])
    try CheckpointFolder.prune(in: scratch("run"), keep: 0)
    #expect(try scratch.entries("run") == ["best", "latest", "step-00000006"])
  }

  @Test("a checkpoint that cannot be removed is reported, the others are removed, and the next call tries again")
  func pruneReportsWhatStays() throws {
    let scratch = try Scratch()
    for step in 1...5 { try write(step, scratch) }
    let busy = LocatedError(path: scratch("run/step-00000002"), problem: "cannot rename: Device or resource busy")
    let failures = try CheckpointFolder.prune(in: scratch("run"), keep: 2, also: []) { path in
      if path.hasSuffix("step-00000002") { throw busy }
      try FileManager.default.removeItem(atPath: path)
    }
    #expect(failures as? [LocatedError] == [busy])
    #expect(try scratch.entries("run") == ["latest", "step-00000002", "step-00000004", "step-00000005"])
    #expect(try CheckpointFolder.prune(in: scratch("run"), keep: 2).isEmpty)
    #expect(try scratch.entries("run") == ["latest", "step-00000004", "step-00000005"])
  }

  @Test("a step folder with a manifest of another program is neither listed nor removed nor replaced")
  func foreignManifests() throws {
    let scratch = try Scratch()
    try write(2, scratch)
    for (step, manifest) in [(1, "{\"format\": \"other\"}"), (3, "{}"), (4, "[]")] {
      let folder = scratch("run/step-0000000\(step)")
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      try scratch.put("run/step-0000000\(step)/manifest.json", manifest)
      try scratch.put("run/step-0000000\(step)/info.json", "{}")
    }
    #expect(try CheckpointFolder.names(in: scratch("run")) == ["step-00000002"])
    try CheckpointFolder.prune(in: scratch("run"), keep: 0)
    #expect(try message { try write(3, scratch) }.contains("no part of a checkpoint of this program"))
    #expect(try scratch.read("run/step-00000003/manifest.json") == Data("{}".utf8))
    #expect(try scratch.read("run/step-00000001/info.json") == Data("{}".utf8))
    // A damaged checkpoint is recognised as one of this program.
    try scratch.put("run/step-00000002/manifest.json", "{\"format")
    #expect(try CheckpointFolder.names(in: scratch("run")) == ["step-00000002"])
  }

  @Test("an invalid manifest is an error that names the fault")
  func oddManifests() throws {
    let scratch = try Scratch()
    #expect(try message { _ = try CheckpointFolder.open(scratch("none")) }.contains("no such checkpoint folder"))
    try write(1, scratch)
    let text = String(decoding: try scratch.read("run/step-00000001/manifest.json"), as: UTF8.self)
    try scratch.put("run/step-00000001/manifest.json", text.replacingOccurrences(of: "state/adam", with: "../adam"))
    #expect(try message { _ = try CheckpointFolder.open(scratch("run/step-00000001")) }.contains("outside the folder"))
    try scratch.put("run/step-00000001/manifest.json", text.replacingOccurrences(of: "eagle-checkpoint", with: "x"))
    #expect(try message { _ = try CheckpointFolder.open(scratch("run/step-00000001")) }.contains("holds x version 1"))
  }
}
