import EagleCore
import EagleStorage
import Foundation
import Testing

@Suite struct FilesTests {
  /// The id of a process that has ended, for the name of a leftover file.
  private func endedProcess() throws -> Int32 {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/true")
    try process.run()
    process.waitUntilExit()
    return process.processIdentifier
  }

  @Test("an atomic write replaces the whole file at its end") func atomicFileReplacesWhole() throws {
    let scratch = try Scratch()
    try scratch.put("a.txt", "old")
    try AtomicFile.write(path: scratch("a.txt")) { file in
      try file.write(Data("new ".utf8))
      #expect(try scratch.read("a.txt") == Data("old".utf8))
      try file.write(Data("content".utf8))
    }
    #expect(try scratch.read("a.txt") == Data("new content".utf8))
    #expect(try scratch.entries() == ["a.txt"])
  }

  @Test("a failed atomic write leaves the old file") func failedAtomicFileLeavesTheOldOne() throws {
    struct Stop: Error {}
    let scratch = try Scratch()
    try scratch.put("a.txt", "old")
    #expect(throws: Stop.self) {
      try AtomicFile.write(path: scratch("a.txt")) { file in
        try file.write(Data("half".utf8))
        throw Stop()
      }
    }
    #expect(try scratch.read("a.txt") == Data("old".utf8))
    #expect(try scratch.entries() == ["a.txt"])
  }

  @Test("temporary files of processes that have ended are removed")
  func leftoversOfKilledWritersGo() throws {
    let scratch = try Scratch()
    let ended = try endedProcess()
    try scratch.put(".a.txt.tmp-\(ended)", "half")
    try scratch.put(".a.txt.tmp-1", "of a running process")
    try scratch.put(".b.txt.tmp-\(ended)", "of another file")
    try AtomicFile.write(path: scratch("a.txt"), data: Data("x".utf8))
    #expect(try scratch.entries() == [".a.txt.tmp-1", ".b.txt.tmp-\(ended)", "a.txt"])
  }

  @Test("another host's temporary goes when nothing was written to it for a day")
  func temporariesOfOtherHosts() throws {
    let scratch = try Scratch()
    let ended = try endedProcess()
    try scratch.put(".a.txt.tmp-\(ended)@another-host", "being written")
    let old = try scratch.put(".a.txt.tmp-\(ended)@third-host", "left")
    try FileManager.default.setAttributes([.modificationDate: Date(timeIntervalSinceNow: -90000)], ofItemAtPath: old)
    try AtomicFile.write(path: scratch("a.txt"), data: Data("x".utf8))
    #expect(try scratch.entries() == [".a.txt.tmp-\(ended)@another-host", "a.txt"])
  }

  @Test("leftovers of other hosts are dated by their file system's clock, not by this host's")
  func clockOfTheFileSystem() throws {
    let scratch = try Scratch()
    let written = try scratch.put(".a.txt.tmp-1@another-host", "being written")
    let day = Date(timeIntervalSince1970: 1_000_000)
    try FileManager.default.setAttributes([.modificationDate: day], ofItemAtPath: written)
    FilePath.removeLeftovers(in: scratch.path, time: { _ in day + 3600 }, where: { _ in true })
    #expect(try scratch.entries() == [".a.txt.tmp-1@another-host"])
    FilePath.removeLeftovers(in: scratch.path, time: { _ in nil }, where: { _ in true })
    #expect(try scratch.entries() == [".a.txt.tmp-1@another-host"])
    FilePath.removeLeftovers(in: scratch.path, time: { _ in day + 90000 }, where: { _ in true })
    #expect(try scratch.entries().isEmpty)
    let now = try #require(FilePath.clock(of: scratch.path))
    let entries = try scratch.entries()
    #expect(abs(now.timeIntervalSinceNow) < 60 && entries.isEmpty, "the disk of this host has its clock")
  }

  @Test("a file is read in chunks, whole and in order")
  func chunks() throws {
    let scratch = try Scratch()
    let content = noise(2 * FileChunks.byteCount + 5)
    let path = try scratch.put("a.bin", content)
    var (seen, sizes) = (Data(), [Int]())
    try FileChunks.forEach(of: path) { bytes in
      seen.append(contentsOf: bytes)
      sizes.append(bytes.count)
    }
    let isWhole = seen == content
    #expect(isWhole && sizes == [FileChunks.byteCount, FileChunks.byteCount, 5])
    try FileChunks.forEach(of: scratch.put("empty", "")) { _ in Issue.record("a chunk of an empty file") }
    let missing = try message { try FileChunks.forEach(of: scratch("none")) { _ in } }
    #expect(missing.contains("/none: cannot open the file: No such file or directory"))
  }

  @Test("a pipe is not digested: its content could not be read afterwards")
  func pipesAreNotDigested() throws {
    let scratch = try Scratch()
    #expect(mkfifo(scratch("pipe"), 0o600) == 0)
    #expect(try message { _ = try FileDigest.sha256(path: scratch("pipe")) }.contains("is no regular file"))
    #expect(try message { _ = try FileDigest.sha256(path: scratch.path) }.contains("is no regular file"))
  }

  @Test("a missing folder and a full disk are errors in the system's words")
  func missingFolderAndFullDiskSaySo() throws {
    let scratch = try Scratch()
    let missing = try message { try AtomicFile.write(path: scratch("no/a.txt"), data: Data([1])) }
    #expect(missing.contains("No such file or directory") && missing.contains("/no/"))
    // Linux has a device that is always full.
    let full = try message { try OutputFile(path: "/dev/full").write(noise(10)) }
    #expect(full.contains("/dev/full: cannot write: No space left on device; free some space"))
  }

  @Test("a mapped file gives its bytes, and missing files and folders are errors") func mappedFile() throws {
    let scratch = try Scratch()
    let path = try scratch.put("a.bin", noise(5000))
    #expect(try MappedFile(path: path).withBytes { Data($0) } == noise(5000))
    #expect(try MappedFile(path: scratch.put("empty", "")).byteCount == 0)
    #expect(try message { _ = try MappedFile(path: scratch("none")) }.contains("No such file or directory"))
    #expect(try message { _ = try MappedFile(path: scratch.path) }.contains("is not a file"))
  }

  @Test("digests are those of FIPS 180-2") func digestOfKnownContent() throws {
    let scratch = try Scratch()
    // FIPS 180-2, appendix B: "abc" and a million times "a".
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    #expect(FileDigest.sha256(Data("abc".utf8)) == abc)
    #expect(try FileDigest.sha256(path: scratch.put("abc", "abc")) == abc)
    let million = try scratch.put("million", Data(repeating: UInt8(ascii: "a"), count: 1_000_000))
    #expect(
      try FileDigest.sha256(path: million) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
  }

  @Test("a folder is written as a whole, and leftovers of ended processes are removed") func atomicFolder() throws {
    let scratch = try Scratch()
    let ended = try endedProcess()
    try FileManager.default.createDirectory(
      atPath: scratch("deep/.out.tmp-\(ended)"), withIntermediateDirectories: true)
    try scratch.put("deep/.out.tmp-\(ended)/half", "x")
    try AtomicFolder.write(path: scratch("deep/out")) { folder in
      #expect(folder.hasPrefix(scratch("deep/.out.tmp-\(getpid())@")))
      try AtomicFile.write(path: "\(folder)/a", data: Data("1".utf8))
    }
    #expect(try scratch.entries("deep") == ["out"])
    #expect(try scratch.entries("deep/out") == ["a"])
  }

  @Test("a filled folder is replaced on request only")
  func atomicFolderKeepsWhatIsThere() throws {
    struct Stop: Error {}
    let scratch = try Scratch()
    try AtomicFolder.write(path: scratch("out")) { try AtomicFile.write(path: "\($0)/a", data: Data("1".utf8)) }
    #expect(throws: Stop.self) { try AtomicFolder.write(path: scratch("out"), replacing: true) { _ in throw Stop() } }
    #expect(try message { try AtomicFolder.write(path: scratch("out")) { _ in } }.contains("exists and is not empty"))
    #expect(try scratch.entries() == ["out"])
    #expect(try scratch.read("out/a") == Data("1".utf8))
    try AtomicFolder.write(path: scratch("out"), replacing: true) {
      try AtomicFile.write(path: "\($0)/b", data: Data("2".utf8))
    }
    #expect(try scratch.entries() == ["out"])
    #expect(try scratch.entries("out") == ["b"])
  }
}
