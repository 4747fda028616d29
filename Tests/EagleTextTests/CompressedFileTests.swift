import EagleText
import Foundation
import Testing

/// Files as gzip 1.12 and zstd 1.5.4 write them: two members, or frames, one after the other.
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

  @Test func membersAndFramesAreReadOneAfterAnother() throws {
    let words = ["one", "two", "three", "four"]
    #expect(try read(Self.gzip, "x.jsonl.gz") == words)
    #expect(try read(Self.zstd, "x.jsonl.zst") == words)
    #expect(try read(Self.gzip, "named-otherwise.jsonl") == words)
  }

  @Test func whatIsNotWholeIsAnError() throws {
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

  /// One line of exactly 1 MiB, which is what is decompressed at a time; and a frame that parallel compressors put in front.
  @Test func oddFramesAreRead() throws {
    let mebibyte = Data(
      base64Encoded:
        "KLUv/aQAABAArAAAaHsicHJvbXB0IjogIngBAPD/OfgCAgAQeAIAEHgCABB4AgAQeAIAEHgCABB4XQAAGHgifQEA+v85EAJlF9Bg")!
    #expect(try read(mebibyte, "x.jsonl.zst") == [String(repeating: "x", count: (1 << 20) - 14)])
    let skippable = Data(base64Encoded: "UCpNGAQAAABhYmNkKLUv/SQk9QAAwHsicHJvbXB0IjogIm9uZSJ9CnR3byJ9CgEAipthrLnaNg==")!
    #expect(try read(skippable, "x.jsonl.zst") == ["one", "two"])
  }

  @Test func namesThatPromiseAnotherCompressionAreRefused() throws {
    let plain = Data("{\"prompt\": \"x\"}\n".utf8)
    #expect(errorText { _ = try read(plain, "x.jsonl.gz") }.contains("not compressed so"))
    #expect(errorText { _ = try read(plain, "x.jsonl.zst") }.contains("not compressed so"))
  }
}
