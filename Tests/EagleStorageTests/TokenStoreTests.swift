import EagleCaptureStore
import EagleText
import Foundation
import Testing

@Suite struct TokenStoreTests {
  @Test("a token store gives the conversations and attributes that were written") func conversationsComeBack() throws {
    let scratch = try Scratch()
    let writer = try TokenStoreWriter(
      path: scratch("tokens.h5"), attributes: ["data_fingerprint": "sha256:ä", "statistics": "{\"a\":1}"])
    try writer.append(ids: [5, -1, 151_935], mask: [0, 1, 1])
    try writer.append(ids: [], mask: [])
    try writer.append(ids: Array(0..<300_000), mask: Array(repeating: 1, count: 300_000))
    #expect(writer.conversationCount == 3 && writer.tokenCount == 300_003)
    let entries = try scratch.entries()
    #expect(entries.count == 1 && entries[0].hasPrefix(".tokens.h5.tmp-\(getpid())@"))
    try writer.finish()
    #expect(try scratch.entries() == ["tokens.h5"])
    let store = try TokenStore(path: scratch("tokens.h5"))
    #expect(store.lengths == [3, 0, 300_000] && store.conversationCount == 3 && store.tokenCount == 300_003)
    #expect(try store.conversation(0) == ([5, -1, 151_935], [0, 1, 1]))
    #expect(try store.conversation(1) == ([], []))
    #expect(try store.conversation(2).ids == Array(0..<300_000))
    #expect(try store.attribute("data_fingerprint") == "sha256:ä")
    #expect(try store.attribute("statistics") == "{\"a\":1}")
    #expect(try store.attribute("other") == nil)
  }

  @Test("a damaged token store is an error that names file and dataset")
  func damageIsNoticed() throws {
    let scratch = try Scratch()
    let writer = try TokenStoreWriter(path: scratch("tokens.h5"))
    let ids: [Int32] = (0..<50).map { $0 * 1000 }
    try writer.append(ids: ids, mask: Array(repeating: 1, count: 50))
    try writer.finish()
    var data = try scratch.read("tokens.h5")
    data[try #require(data.range(of: ids.withUnsafeBytes { Data($0) })).lowerBound + 40] ^= 1
    let store = try TokenStore(path: scratch.put("odd.h5", data))
    let text = try message { _ = try store.conversation(0) }
    #expect(text.contains("odd.h5: cannot read the dataset `input_ids`") && text.contains("the checksum is wrong"))
    #expect(
      try message { _ = try TokenStore(path: scratch.put("text.h5", "no")) }.contains("text.h5: cannot open it as"))
  }

  @Test("rows that a dataset declares and does not hold are refused")
  func declaredRows() throws {
    let scratch = try Scratch()
    let writer = try TokenStoreWriter(path: scratch("tokens.h5"))
    try writer.append(ids: [1, 2, 3], mask: [1, 1, 1])
    try writer.finish()
    let whole = try scratch.read("tokens.h5")
    // The sizes of `offsets`: two entries now, any number at most.
    let sizes = [UInt64(2), .max].withUnsafeBytes { Data($0) }
    let wild = [UInt64(1) << 39, .max].withUnsafeBytes { Data($0) }
    let place = try #require(whole.range(of: sizes))
    var data = whole
    data.replaceSubrange(place, with: wild)
    try ObjectHeader.seal(&data, around: place.lowerBound)
    let text = try message { _ = try TokenStore(path: scratch.put("wild.h5", data)) }
    #expect(text.contains("`offsets` declares 549755813888 rows, and the file holds"), "\(text)")
  }

  @Test("a capture shard is refused as a token store") func captureShardIsNotATokenStore() throws {
    let scratch = try Scratch()
    try SampleCapture.write(scratch("a.h5"), lengths: [2])
    #expect(try message { _ = try TokenStore(path: scratch("a.h5")) }.contains("`format` is eagle-capture"))
  }
}
