import EagleText
import Foundation
import Testing

/// Files from gzip 1.12 and zstd 1.5.4: two members, or frames, one after the other.
@Suite struct CompressedFileTests {
  private static let gzip = Data(
    base64Encoded:
      "H4sIAAAAAAACA6tWKijKzy0oUbJSUMrPS1Wq5apGEikpzweKAAAXk5YbJAAAAB+LCAAAAAAAAgOrViooys8tKFGyUlAqyShKTVWq5eXiqkYSTcsvLVKqBQClUFCdKAAAAA=="
  )!
  private static let zstd = Data(
    base64Encoded:
      "KLUv/SQk9QAAwHsicHJvbXB0IjogIm9uZSJ9CnR3byJ9CgEAipthrLnaNii1L/0kKBUBAOB7InByb21wdCI6ICJ0aHJlZSJ9DQoKZm91ciJ9AQCSm03Qo7yJ"
  )!

  private func read(_ bytes: Data, _ name: String) throws -> [String] {
    try withTemporaryFolder { folder in
      let path = folder.appendingPathComponent(name).path
      try bytes.write(to: URL(fileURLWithPath: path))
      return try PromptReader.read(path: path).flatMap(\.turns)
    }
  }

  @Test("all members of a gzip file and all frames of a Zstandard file are read")
  func membersAndFramesAreReadOneAfterAnother() throws {
    let words = ["one", "two", "three", "four"]
    #expect(try read(Self.gzip, "x.jsonl.gz") == words)
    #expect(try read(Self.zstd, "x.jsonl.zst") == words)
    #expect(try read(Self.gzip, "named-otherwise.jsonl") == words)
  }

  @Test("zeros behind the last gzip member are padding")
  func paddedGzip() throws {
    for count in [1, 512, 3 << 20] {
      #expect(try read(Self.gzip + Data(count: count), "x.jsonl.gz") == ["one", "two", "three", "four"])
    }
    let message = errorText { _ = try read(Self.gzip + Data(count: 5) + Data("no gzip member".utf8), "x.jsonl.gz") }
    #expect(message.contains("compressed data cannot be read"), "\(message)")
  }

  /// A frame header of a 256 MB and of a 1 GB window (RFC 8878, 3.1.1.1), followed by a last block.
  @Test("zstd windows above 128 MB are read, and above 512 MB the error says what to do")
  func largeWindows() throws {
    func frame(windowLog: UInt8) -> Data {
      // Magic, descriptor without a content size, window; a raw last block of the two bytes of `{}`.
      Data([0x28, 0xB5, 0x2F, 0xFD, 0x00, (windowLog - 10) << 3, 0x11, 0x00, 0x00]) + Data("\n\n".utf8)
    }
    #expect(errorText { _ = try read(frame(windowLog: 28), "x.jsonl.zst") }.contains("no prompt"))
    let message = errorText { _ = try read(frame(windowLog: 30), "x.jsonl.zst") }
    #expect(message.contains("window above 512 MB") && message.contains("--long=29"), "\(message)")
  }

  @Test("a pipe is read from its first byte", arguments: [false, true])
  func pipes(isCompressed: Bool) throws {
    try withTemporaryFolder { folder in
      let path = folder.appendingPathComponent("pipe").path
      #expect(mkfifo(path, 0o600) == 0)
      let content = isCompressed ? Self.gzip : Data("{\"prompt\": \"one\"}\n{\"prompt\": \"two\"}\n".utf8)
      let words = isCompressed ? ["one", "two", "three", "four"] : ["one", "two"]
      let writer = Thread {
        // One byte at first, because a pipe returns the bytes that are available.
        guard let handle = FileHandle(forWritingAtPath: path) else { return }
        try? handle.write(contentsOf: content.prefix(1))
        usleep(20_000)
        try? handle.write(contentsOf: content.dropFirst())
        try? handle.close()
      }
      writer.start()
      let found = try PromptReader.read(path: path).flatMap(\.turns)
      #expect(found == words)
    }
  }

  @Test("a compressed file that ends too early or is damaged is an error")
  func whatIsNotWholeIsAnError() throws {
    for (bytes, name) in [(Self.gzip, "x.jsonl.gz"), (Self.zstd, "x.jsonl.zst")] {
      for count in [bytes.count - 3, bytes.count / 2 - 3] {
        let message = errorText { _ = try read(bytes.prefix(count), name) }
        #expect(message.contains(name) && message.contains("too early"), "\(message)")
      }
      var damaged = bytes
      damaged[damaged.count - 12] ^= 0x55
      let message = errorText { _ = try read(damaged, name) }
      #expect(message.contains(name) && message.contains("compressed data cannot be read"), "\(message)")
    }
  }

  /// One line of exactly 1 MiB, the size of a decompressed block; and a frame that parallel compressors write first.
  @Test("skippable Zstandard frames are skipped, and large blocks are read")
  func oddFramesAreRead() throws {
    let mebibyte = Data(
      base64Encoded:
        "KLUv/aQAABAArAAAaHsicHJvbXB0IjogIngBAPD/OfgCAgAQeAIAEHgCABB4AgAQeAIAEHgCABB4XQAAGHgifQEA+v85EAJlF9Bg")!
    #expect(try read(mebibyte, "x.jsonl.zst") == [String(repeating: "x", count: (1 << 20) - 14)])
    let skippable = Data(base64Encoded: "UCpNGAQAAABhYmNkKLUv/SQk9QAAwHsicHJvbXB0IjogIm9uZSJ9CnR3byJ9CgEAipthrLnaNg==")!
    #expect(try read(skippable, "x.jsonl.zst") == ["one", "two"])
  }

  @Test("a file whose content contradicts its name is refused")
  func namesThatPromiseAnotherCompressionAreRefused() throws {
    let plain = Data("{\"prompt\": \"x\"}\n".utf8)
    #expect(errorText { _ = try read(plain, "x.jsonl.gz") }.contains("not compressed so"))
    #expect(errorText { _ = try read(plain, "x.jsonl.zst") }.contains("not compressed so"))
  }
}
