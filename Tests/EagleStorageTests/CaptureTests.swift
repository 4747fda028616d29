import EagleCaptureStore
import EagleCore
import EagleModels
import EagleTensor
import Foundation
import Testing

/// A small store for tests: H 8, vocabulary 100.
struct SampleCapture {
  static let attributes = CaptureAttributes(
    hiddenSize: 8, vocabularySize: 100, layers: [1, 14, 26], targetFingerprint: "sha256:abc", precision: .fp32)

  static func states(_ rows: Int, _ columns: Int, seed: Int) -> Tensor {
    let tensor = Tensor([rows, columns], dtype: .bfloat16)
    tensor.rawBytes.copyBytes(from: noise(tensor.byteCount, seed: UInt64(seed)))
    return tensor
  }

  static func ids(_ rows: Int, seed: Int) -> [Int32] { (0..<rows).map { Int32(($0 * 7 + seed) % 100) } }

  static func write(_ path: String, lengths: [Int], seed: Int = 0, attributes: CaptureAttributes = attributes) throws {
    let writer = try CaptureShardWriter(path: path, attributes: attributes)
    for (index, rows) in lengths.enumerated() { try append(rows, seed: seed + index, to: writer, attributes) }
    try writer.finish()
  }

  static func append(_ rows: Int, seed: Int, to writer: CaptureShardWriter, _ attributes: CaptureAttributes) throws {
    let width = attributes.hiddenSize
    try writer.append(
      ids: ids(rows, seed: seed), mask: ids(rows, seed: seed).map { UInt8($0 % 2) },
      auxHidden: states(rows, 3 * width, seed: seed), lastHidden: states(rows, width, seed: seed + 50),
      teacherArgmax: ids(rows, seed: seed + 1), teacherLogSum: logSums(rows, seed: seed))
  }

  static func logSums(_ rows: Int, seed: Int) -> [Float] { ids(rows, seed: seed + 2).map { Float($0) / 8 } }

  static func expect(_ read: CapturedConversation, rows: Int, seed: Int, width: Int = 8) {
    #expect(read.ids == ids(rows, seed: seed))
    #expect(read.lossMask == ids(rows, seed: seed).map { UInt8($0 % 2) })
    #expect(read.teacherArgmax == ids(rows, seed: seed + 1))
    #expect(read.teacherLogSum == logSums(rows, seed: seed))
    #expect(read.auxHidden.shape == [rows, 3 * width] && read.auxHidden.dtype == .bfloat16)
    #expect(bytes(read.auxHidden) == bytes(states(rows, 3 * width, seed: seed)))
    #expect(bytes(read.lastHidden) == bytes(states(rows, width, seed: seed + 50)))
  }
}

@Suite struct CaptureShardTests {
  @Test("a shard gives the conversations that were written") func conversationsComeBack() throws {
    let scratch = try Scratch()
    let lengths = [3, 0, 17, 1]
    try SampleCapture.write(scratch("shard-00000.h5"), lengths: lengths)
    #expect(try scratch.entries() == ["shard-00000.h5"])
    let shard = try CaptureShard(path: scratch("shard-00000.h5"))
    #expect(shard.attributes == SampleCapture.attributes)
    #expect(shard.offsets == [0, 3, 3, 20, 21] && shard.rowCount == 21 && shard.conversationCount == 4)
    for index in [2, 0, 3, 1] {
      SampleCapture.expect(try shard.read(conversation: index), rows: lengths[index], seed: index)
    }
  }

  /// 8 bits with a scale for each block: close to the input, equal to `asStored`, and half the bytes.
  @Test(
    "states in 8 bits come back as asStored gives them, near the originals, in about half the bytes",
    arguments: [8, 64, 100])
  func statesInEightBits(width: Int) throws {
    let scratch = try Scratch()
    // Enough for files that are more than a few chunks.
    let rows = width == 64 ? 16000 : 300
    var attributes = SampleCapture.attributes
    (attributes.hiddenSize, attributes.format) = (width, .int8)
    var random = RandomSource(seed: 3)
    let aux = Tensor.normal([rows, 3 * width], deviation: 2, using: &random)
    // A state that is much larger than others, as in real models, and one that is 0.
    aux.floats[5] = 900
    for i in 0..<3 * width { aux.floats[3 * width + i] = 0 }
    let last = Tensor.normal([rows, width], deviation: 1, using: &random).bfloat16()
    for (name, format) in [("int8.h5", StateFormat.int8), ("bf16.h5", .bf16)] {
      attributes.format = format
      let writer = try CaptureShardWriter(path: scratch(name), attributes: attributes)
      try writer.append(
        ids: SampleCapture.ids(rows, seed: 0), mask: [UInt8](repeating: 1, count: rows), auxHidden: aux.bfloat16(),
        lastHidden: last, teacherArgmax: SampleCapture.ids(rows, seed: 1),
        teacherLogSum: [Float](repeating: 1, count: rows))
      try writer.finish()
    }
    let shard = try CaptureShard(path: scratch("int8.h5"))
    #expect(shard.attributes.format == .int8)
    let read = try shard.read(conversation: 0)
    let promised = StateFormat.int8.asStored(aux.bfloat16(), hiddenSize: width)
    #expect(bytes(read.auxHidden) == bytes(promised))
    #expect(bytes(read.lastHidden) == bytes(StateFormat.int8.asStored(last, hiddenSize: width)))
    let (got, wanted) = (read.auxHidden.float32().values, aux.bfloat16().float32().values)
    for start in stride(from: 0, to: got.count, by: width) {
      for first in stride(from: start, to: start + width, by: 64) {
        let block = first..<min(first + 64, start + width)
        let largest = block.reduce(Float(0)) { max($0, abs(wanted[$1])) }
        // because: half a step of 1/127, a scale of 8 bits, and a result of 8 bits
        #expect(block.allSatisfy { abs(got[$0] - wanted[$0]) <= largest * 0.012 })
      }
    }
    #expect(got[3 * width..<6 * width].allSatisfy { $0 == 0 })
    if width == 64 {
      #expect(Double(try scratch.read("int8.h5").count) < 0.62 * Double(try scratch.read("bf16.h5").count))
    }
  }

  /// Non-finite values stay non-finite in 8 bits, so that the trainer can name their conversation.
  @Test("non-finite values stay non-finite in 8 bits, for the trainer to name their conversation")
  func whatIsNoNumberStaysNone() {
    let states = Tensor.filled([2, 128], with: 1)
    (states.floats[3], states.floats[200]) = (.nan, .infinity)
    let stored = StateFormat.int8.asStored(states.bfloat16(), hiddenSize: 128).float32().values
    for (i, value) in stored.enumerated() {
      #expect(value.isNaN == (i < 64 || i >= 192), "\(i)")
    }
  }

  @Test("a shard whose rows are known beforehand stores no unused rows, and reads alike")
  func chunksAreCutToTheRows() throws {
    let scratch = try Scratch()
    for (name, rows) in [("whole.h5", nil), ("cut.h5", 100), ("surprised.h5", 7)] as [(String, Int?)] {
      let writer = try CaptureShardWriter(path: scratch(name), attributes: SampleCapture.attributes, rows: rows)
      try SampleCapture.append(60, seed: 0, to: writer, SampleCapture.attributes)
      try SampleCapture.append(40, seed: 1, to: writer, SampleCapture.attributes)
      try writer.finish()
      let shard = try CaptureShard(path: scratch(name))
      for (index, rows) in [60, 40].enumerated() {
        SampleCapture.expect(try shard.read(conversation: index), rows: rows, seed: index)
      }
    }
    // Six columns of chunks of 16 KiB, against 100 rows of 77 bytes.
    #expect(try scratch.read("whole.h5").count > 90_000)
    #expect(try scratch.read("cut.h5").count < 40_000)
  }

  @Test("an attribute of several strings is refused, not read over its end")
  func severalStrings() throws {
    // Made by Tools/fixtures/make_string_list.py.
    let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    let path = tests.appendingPathComponent("Fixtures/string-list.h5").path
    let text = try message { _ = try CaptureShard(path: path) }
    #expect(text.contains("the attribute `format` is not one string"), "\(text)")
  }

  @Test("a conversation may lie in several chunks of a dataset")
  func conversationsCrossChunks() throws {
    let scratch = try Scratch()
    var attributes = SampleCapture.attributes
    attributes.hiddenSize = 1024  // a chunk of 512 KiB holds 85 rows of aux states and 256 of last states
    let lengths = [100, 300, 7]
    try SampleCapture.write(scratch("a.h5"), lengths: lengths, attributes: attributes)
    let shard = try CaptureShard(path: scratch("a.h5"))
    for index in 0..<3 {
      SampleCapture.expect(try shard.read(conversation: index), rows: lengths[index], seed: index, width: 1024)
    }
  }

  @Test("a shard without conversations can be read") func emptyShard() throws {
    let scratch = try Scratch()
    try SampleCapture.write(scratch("a.h5"), lengths: [])
    #expect(try CaptureShard(path: scratch("a.h5")).offsets == [0])
  }

  @Test("an unfinished shard has a temporary name, and is refused under another")
  func unfinishedShardDoesNotExist() throws {
    let scratch = try Scratch()
    var writer: CaptureShardWriter? = try CaptureShardWriter(
      path: scratch("a.h5"), attributes: SampleCapture.attributes)
    try SampleCapture.append(5, seed: 0, to: #require(writer), SampleCapture.attributes)
    let entries = try scratch.entries()
    #expect(entries.count == 1 && entries[0].hasPrefix(".a.h5.tmp-\(getpid())@"))
    // A copy of a killed writer's file, under the final name.
    try FileManager.default.copyItem(atPath: scratch(entries[0]), toPath: scratch("killed.h5"))
    writer = nil
    #expect(try scratch.entries() == ["killed.h5"])
    let text = try message { _ = try CaptureShard(path: scratch("killed.h5")) }
    #expect(text.hasPrefix(scratch("killed.h5")), "\(text)")
  }

  @Test("a flipped byte of any dataset is an error that names the dataset")
  func flippedByteIsNoticed() throws {
    let scratch = try Scratch()
    try SampleCapture.write(scratch("a.h5"), lengths: [9, 9])
    let whole = try scratch.read("a.h5")
    for (dataset, content) in [
      ("aux_hidden", bytes(SampleCapture.states(9, 24, seed: 1))),
      ("last_hidden", bytes(SampleCapture.states(9, 8, seed: 51))),
      ("teacher_argmax", SampleCapture.ids(9, seed: 2).withUnsafeBytes { Data($0) }),
    ] {
      var data = whole
      data[try #require(whole.range(of: content)).lowerBound + 5] ^= 0x10
      let shard = try CaptureShard(path: scratch.put("odd.h5", data))
      let text = try message { _ = try shard.read(conversation: 1) }
      #expect(text.hasPrefix(scratch("odd.h5")) && text.contains("`\(dataset)`"), "\(text)")
      #expect(text.contains("Fletcher32") && text.contains("the checksum is wrong"), "\(text)")
    }
  }

  @Test("a shard with any damaged byte of its structure is read whole or refused, never a crash")
  func damagedStructureIsSurvived() throws {
    let scratch = try Scratch()
    try SampleCapture.write(scratch("a.h5"), lengths: [9])
    let whole = try scratch.read("a.h5")
    // The attributes, with their heap of strings at byte 2048, and the headers of the datasets are at the start.
    for place in Array(2048..<2100) + Array(stride(from: 0, to: 6000, by: 37)) {
      var data = whole
      data[place] ^= 0xFF
      let path = try scratch.put("odd.h5", data)
      do {
        SampleCapture.expect(try CaptureShard(path: path).read(conversation: 0), rows: 9, seed: 0)
      } catch let error as LocatedError {
        #expect(error.path == path, "byte \(place)")
      }
    }
  }

  @Test("truncated and missing shards are errors") func truncatedShards() throws {
    let scratch = try Scratch()
    try SampleCapture.write(scratch("a.h5"), lengths: [9, 9])
    let whole = try scratch.read("a.h5")
    for count in [0, 8, 100, 2000, whole.count / 2, whole.count - 1] {
      let path = try scratch.put("cut.h5", whole.prefix(count))
      #expect(try message { _ = try CaptureShard(path: path) }.contains("cut.h5: cannot open it as an HDF5 file"))
    }
    #expect(try message { _ = try CaptureShard(path: scratch("none.h5")) }.contains("No such file or directory"))
  }

  @Test("an HDF5 file of another format is refused") func otherHDF5Files() throws {
    let scratch = try Scratch()
    let writer = try TokenStoreWriter(path: scratch("tokens.h5"))
    try writer.finish()
    let text = try message { _ = try CaptureShard(path: scratch("tokens.h5")) }
    #expect(text.contains("`format` is eagle-tokens, not eagle-capture"))
  }

  @Test("token ids outside the vocabulary are errors") func tokensOutsideTheVocabulary() throws {
    let scratch = try Scratch()
    var attributes = SampleCapture.attributes
    attributes.vocabularySize = 10
    try SampleCapture.write(scratch("a.h5"), lengths: [9], attributes: attributes)
    let text = try message { _ = try CaptureShard(path: scratch("a.h5")).read(conversation: 0) }
    #expect(text.contains("conversation 0 has the token id 14, the vocabulary 10 tokens"))
  }

  @Test("threads can read a shard concurrently") func threadsReadTogether() async throws {
    let scratch = try Scratch()
    let lengths = (0..<20).map { $0 + 1 }
    try SampleCapture.write(scratch("a.h5"), lengths: lengths)
    let shard = try CaptureShard(path: scratch("a.h5"))
    try await withThrowingTaskGroup(of: Void.self) { group in
      for index in 0..<20 {
        group.addTask { SampleCapture.expect(try shard.read(conversation: index), rows: index + 1, seed: index) }
      }
      try await group.waitForAll()
    }
  }
}

@Suite struct CaptureStoreTests {
  private func store(_ scratch: Scratch, shards: Int = 3) throws -> CaptureManifest {
    var entries: [CaptureManifest.Shard] = []
    for index in 0..<shards {
      let name = CaptureManifest.shardName(index)
      try SampleCapture.write(scratch(name), lengths: [index + 1, 4], seed: 10 * index)
      entries.append(.init(file: name, rows: index + 5, conversations: 2))
    }
    let manifest = CaptureManifest(
      attributes: SampleCapture.attributes, dataFingerprint: "sha256:data", shards: entries)
    try manifest.write(to: scratch.path)
    return manifest
  }

  @Test("the conversations of all shards are one list")
  func shardsAreOneList() throws {
    let scratch = try Scratch()
    let manifest = try store(scratch, shards: 11)
    #expect(manifest.shards[10].file == "shard-00010.h5")
    let store = try CaptureStore(folder: scratch.path)
    #expect(store.manifest == manifest)
    #expect(store.lengths == (0..<11).flatMap { [$0 + 1, 4] } && store.tokenCount == 110)
    for index in (0..<22).reversed() {
      let read = try store.read(conversation: index)
      SampleCapture.expect(read, rows: store.lengths[index], seed: index / 2 * 10 + index % 2)
      #expect(try store.readTokens(conversation: index).ids == read.ids)
    }
  }

  @Test("the manifest is plain JSON under documented keys")
  func manifestIsReadableElsewhere() throws {
    let scratch = try Scratch()
    _ = try store(scratch)
    let json = try #require(
      try JSONSerialization.jsonObject(with: scratch.read("manifest.json")) as? [String: Any])
    #expect(json["format"] as? String == "eagle-capture" && json["version"] as? Int == 2)
    #expect(json["hidden_size"] as? Int == 8 && json["vocab_size"] as? Int == 100)
    #expect(json["layers"] as? [Int] == [1, 14, 26] && json["dtype"] as? String == "bfloat16")
    #expect(json["shard_count"] as? Int == 3 && (json["shards"] as? [[String: Any]])?.count == 3)
    #expect(json["target_fingerprint"] as? String == "sha256:abc")
    #expect(json["data_fingerprint"] as? String == "sha256:data")
  }

  @Test("a store of another model or precision is refused with both values")
  func anotherModelIsRefusedWithBothValues() throws {
    let scratch = try Scratch()
    _ = try store(scratch)
    let attributes = try CaptureStore(folder: scratch.path).manifest.attributes
    func refusal(_ change: (inout CaptureAttributes) -> Void) throws -> String {
      var other = attributes
      change(&other)
      return try message { try attributes.check(against: other, path: "store") }
    }
    try attributes.check(against: attributes, path: "store")
    #expect(try refusal { $0.hiddenSize = 16 }.contains("captured with hidden_size 8, but this run has 16"))
    #expect(try refusal { $0.vocabularySize = 99 }.contains("vocab_size 100"))
    #expect(try refusal { $0.layers = [1, 2, 3] }.contains("layers [1, 14, 26], but this run has [1, 2, 3]"))
    #expect(
      try refusal { $0.targetFingerprint = "sha256:x" }
        .contains("target_fingerprint sha256:abc, but this run has sha256:x"))
    #expect(try refusal { $0.precision = .bf16 }.contains("precision fp32, but this run computes bf16"))
  }

  @Test("a shard says which tokens and masks it holds, and new masks change nothing else")
  func masksAreReplacedInPlace() throws {
    let scratch = try Scratch()
    let path = scratch("shard-00000.h5")
    try SampleCapture.write(path, lengths: [3, 17])
    func read() throws -> (CaptureAttributes, ConversationsFingerprint?, [CapturedConversation]) {
      let shard = try CaptureShard(path: path)
      #expect(try shard.computedFingerprint() == shard.fingerprint)
      return (shard.attributes, shard.fingerprint, try (0..<2).map { try shard.read(conversation: $0) })
    }
    let (attributes, old, states) = try read()
    let masks = [[UInt8](repeating: 1, count: 3), [UInt8](repeating: 0, count: 17)]
    var hasher = ConversationsHasher()
    for (conversation, mask) in zip(states, masks) { hasher.add(ids: conversation.ids, mask: mask) }
    let new = hasher.finish()
    #expect(new.tokens == old?.tokens && new.masks != old?.masks)
    try CaptureShardMasks.replace(path: path, masks: masks.flatMap { $0 }, fingerprint: new, precision: .fp32)
    let after = try read()
    #expect(after.1 == new && after.0 == attributes)
    for (index, (old, read)) in zip(states, after.2).enumerated() {
      #expect(read.ids == old.ids && read.lossMask == masks[index])
      #expect(bytes(read.auxHidden) == bytes(old.auxHidden) && bytes(read.lastHidden) == bytes(old.lastHidden))
    }
  }

  @Test("a store whose shards hold other tokens or masks than its manifest says is not opened")
  func shardsOfOtherData() throws {
    let scratch = try Scratch()
    try SampleCapture.write(scratch("shard-00000.h5"), lengths: [3, 4], seed: 1)
    let fingerprint = try #require(try CaptureShard(path: scratch("shard-00000.h5")).fingerprint)
    try CaptureManifest(
      attributes: SampleCapture.attributes, dataFingerprint: "d",
      shards: [.init(file: "shard-00000.h5", rows: 7, conversations: 2, fingerprint: fingerprint)]
    ).write(to: scratch.path)
    _ = try CaptureStore(folder: scratch.path)
    try SampleCapture.write(scratch("shard-00000.h5"), lengths: [3, 4], seed: 2)
    #expect(try message { _ = try CaptureStore(folder: scratch.path) }.contains("shard-00000.h5: holds other tokens"))
  }

  @Test("shards that are missing or contradict the manifest are refused") func shardsOfAnotherModelOrMissing() throws {
    let scratch = try Scratch()
    _ = try store(scratch)
    var other = SampleCapture.attributes
    other.layers = [0, 1, 2]
    try SampleCapture.write(scratch("shard-00001.h5"), lengths: [2, 4], attributes: other)
    #expect(
      try message { _ = try CaptureStore(folder: scratch.path) }
        .contains("shard-00001.h5: captured with layers [0, 1, 2], but this run has [1, 14, 26]"))
    try SampleCapture.write(scratch("shard-00001.h5"), lengths: [2])
    #expect(
      try message { _ = try CaptureStore(folder: scratch.path) }
        .contains("has 1 conversations in 2 rows, the manifest says 2 in 6"))
    try FileManager.default.removeItem(atPath: scratch("shard-00001.h5"))
    #expect(try message { _ = try CaptureStore(folder: scratch.path) }.contains("shard-00001.h5: cannot open"))
  }

  @Test("a store that is opened by its lengths looks at files when they are read, and names the one at fault")
  func shardsAreOpenedWhenTheyAreRead() throws {
    let scratch = try Scratch()
    let lengths = [1, 4, 2, 4, 3, 4]
    let entries = try store(scratch).shards.map {
      CaptureManifest.Shard(
        file: $0.file, rows: $0.rows, conversations: $0.conversations, bytes: Disk.size(of: scratch($0.file)))
    }
    try CaptureManifest(attributes: SampleCapture.attributes, dataFingerprint: "d", shards: entries).write(
      to: scratch.path)
    func open(_ lengths: [Int] = lengths, _ presence: CaptureStore.Presence = .whole) throws -> CaptureStore {
      try CaptureStore(folder: scratch.path, lengths: lengths, presence: presence)
    }
    #expect(try open().tokenCount == 18)
    #expect(try message { _ = try open([1, 4]) }.contains("lists 6 conversations, the prepared data has 2"))
    #expect(
      try message { _ = try open([1, 4, 2, 5, 3, 4]) }
        .contains("shard-00001.h5: has 6 rows by the manifest, its conversations have 7 tokens"))
    // The same size, from another model.
    var other = SampleCapture.attributes
    other.layers = [0, 1, 2]
    try SampleCapture.write(scratch("shard-00001.h5"), lengths: [2, 4], attributes: other)
    let store = try open(lengths, .known)
    _ = try store.read(conversation: 0)
    #expect(
      try message { _ = try store.read(conversation: 2) }
        .contains("shard-00001.h5: captured with layers [0, 1, 2], but this run has [1, 14, 26]"))
    // Truncated, and then removed.
    let file = try #require(FileHandle(forWritingAtPath: scratch("shard-00001.h5")))
    try file.truncate(atOffset: 1000)
    #expect(try message { _ = try open() }.contains("shard-00001.h5: has 1000 bytes, the manifest says "))
    try FileManager.default.removeItem(atPath: scratch("shard-00001.h5"))
    #expect(try message { _ = try open() }.contains("shard-00001.h5: is missing"))
    #expect(try open(lengths, .partial).holds == [true, false, true])
  }

  @Test("an invalid manifest is an error that names the fault")
  func oddManifests() throws {
    let scratch = try Scratch()
    #expect(try message { _ = try CaptureStore(folder: scratch.path) }.contains("it has no manifest.json"))
    try scratch.put("manifest.json", "{\"format\":")
    #expect(try message { _ = try CaptureStore(folder: scratch.path) }.contains("is not a capture manifest"))
    _ = try store(scratch)
    let text = String(decoding: try scratch.read("manifest.json"), as: UTF8.self)
    try scratch.put("manifest.json", text.replacingOccurrences(of: "\"version\" : 2", with: "\"version\" : 3"))
    #expect(try message { _ = try CaptureStore(folder: scratch.path) }.contains("eagle-capture version 3"))
    try scratch.put("manifest.json", text.replacingOccurrences(of: "shard-00001.h5", with: "../x.h5"))
    #expect(try message { _ = try CaptureStore(folder: scratch.path) }.contains("`../x.h5`"))
  }
}
