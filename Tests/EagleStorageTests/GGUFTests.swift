import EagleCore
import EagleStorage
import EagleTensor
import Foundation
import Testing

/// The fixture that `Tools/fixtures/gguf_dequantize.py` makes with the gguf package.
private struct Fixture: Decodable {
  struct Blocks: Decodable {
    let name: String
    let blocks: Data
    let values: Data
  }

  struct Container: Decodable {
    let file: Data
    let plain: Data
    let packed: Data
  }

  let types: [Blocks]
  let container: Container

  static func load() throws -> Fixture {
    let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    let data = try Data(contentsOf: tests.appendingPathComponent("Fixtures/gguf-dequantize.json"))
    return try JSONDecoder().decode(Fixture.self, from: data)
  }
}

private func bits(_ values: [Float]) -> [UInt32] { values.map(\.bitPattern) }

private func bits(_ data: Data) -> [UInt32] {
  data.withUnsafeBytes { bytes in
    (0..<bytes.count / 4).map { bytes.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self) }
  }
}

@Suite struct GGUFTests {
  @Test(
    "values of each tensor type are those of the reference, bit for bit",
    arguments: DType.ggmlTypes.filter { $0 == .float32 || $0 == .float16 || $0 == .bfloat16 || $0.isBlocks })
  func blocksAreReadAsTheReferenceReadsThem(_ type: DType) throws {
    let fixture = try #require(try Fixture.load().types.first { $0.name == type.ggmlName })
    let blocks = fixture.blocks.count / type.blockBytes
    var file = GGUFBytes()
    file.describe("x", [UInt64(type.blockLength), UInt64(blocks)], type: try #require(type.ggmlNumber), offset: 0)
    file.payload = fixture.blocks
    let scratch = try Scratch()
    let gguf = try GGUFFile(path: scratch.put("x.gguf", file.data))
    #expect(try gguf.info("x").shape == [blocks, type.blockLength])
    // Bit for bit: both multiply and add in float32, one rounding each.
    #expect(bits(try gguf.floats("x")) == bits(fixture.values))
    #expect(bits(try gguf.tensor("x").values) == bits(fixture.values))
  }

  @Test("metadata and tensors of the reference writer are read") func fileOfTheReferenceWriter() throws {
    let fixture = try Fixture.load().container
    let scratch = try Scratch()
    let gguf = try GGUFFile(path: scratch.put("small.gguf", fixture.file))
    #expect(gguf.version == 3)
    #expect(try gguf.string("general.architecture") == "llama")
    let ints = try ["uint8", "int8", "uint16", "int16", "uint32", "int32", "int64"].map { try gguf.int("t.\($0)") }
    #expect(ints == [200, -100, 60000, -30000, 4_000_000_000, -2_000_000_000, -(1 << 62)])
    #expect(gguf.metadata["t.uint64"] == .unsigned(1 << 63 + 5))
    #expect(try gguf.float("t.float32") == Double(Float(1e-5)))
    #expect(try gguf.float("t.float64") == 0.1)
    #expect(try gguf.bool("t.bool"))
    #expect(try gguf.string("t.string") == "größer ✓")
    #expect(try gguf.strings("t.strings") == ["Ġ t", "", "日本"])
    #expect(try gguf.ints("t.ints") == [3, -1, 7])
    #expect(gguf.metadata["t.floats"] == .array([.float(0.5), .float(-2)]))
    #expect(gguf.tensors.map(\.name) == ["plain.weight", "packed.weight"])
    #expect(try gguf.info("packed.weight").shape == [2, 64])
    #expect(bits(try gguf.floats("plain.weight")) == bits(fixture.plain))
    #expect(bits(try gguf.floats("packed.weight")) == bits(fixture.packed))
  }

  @Test("truncation at any byte is an error") func truncationAtEveryByteIsNoticed() throws {
    let whole = try Fixture.load().container.file
    let scratch = try Scratch()
    // The reference writer pads the end of the file; the last tensor ends 24 bytes before it.
    let end = try #require(try GGUFFile(path: scratch.put("whole.gguf", whole)).tensors.map(\.range.upperBound).max())
    for count in 0..<end {
      let path = try scratch.put("cut.gguf", whole.prefix(count))
      let text = try message { _ = try GGUFFile(path: path) }
      #expect(text.hasPrefix(path), "\(count) bytes: \(text)")
    }
  }

  @Test("a GGUF file with any damaged byte is read or refused, never a crash")
  func anyDamagedByteIsSurvived() throws {
    let whole = try Fixture.load().container.file
    let scratch = try Scratch()
    for place in 0..<whole.count {
      var data = whole
      data[place] ^= 0xFF
      let path = try scratch.put("odd.gguf", data)
      // Some bytes only change a value; the test only requires that nothing worse than an error happens.
      guard let file = try? GGUFFile(path: path) else { continue }
      for tensor in file.tensors { #expect(try file.floats(tensor.name).count == tensor.count) }
    }
  }

  @Test("a missing tensor and a wrong use of a value are errors that name it")
  func wrongAccessIsNamed() throws {
    var file = GGUFBytes()
    file.add("a", "text")
    file.add("b", 3)
    let scratch = try Scratch()
    let gguf = try GGUFFile(path: scratch.put("a.gguf", file.data))
    #expect(try message { _ = try gguf.int("a") }.contains("`a` is a string, not an integer"))
    #expect(try message { _ = try gguf.strings("b") }.contains("`b` is an integer, not an array of strings"))
    #expect(try message { _ = try gguf.float("c") }.contains("no metadata key `c`"))
    #expect(try message { _ = try gguf.floats("x") }.contains("no tensor `x`"))
  }
}

@Suite struct BrokenGGUFTests {
  private func error(_ change: (inout GGUFBytes) -> Void) throws -> String {
    var file = GGUFBytes()
    file.payload = noise(64)
    change(&file)
    let scratch = try Scratch()
    let path = try scratch.put("bad.gguf", file.data)
    return try message { _ = try GGUFFile(path: path) }
  }

  @Test("other files and other versions are refused") func otherFilesAndVersions() throws {
    #expect(try error { $0.magic = Data("GGML".utf8) }.contains("is not a GGUF file"))
    #expect(try error { $0.version = 1 }.contains("has version 1"))
    #expect(try error { $0.version = 3 << 24 }.contains("is big-endian"))
    let scratch = try Scratch()
    #expect(try message { _ = try GGUFFile(path: scratch("none")) }.contains("No such file"))
  }

  @Test("an unknown tensor type is named") func unknownTensorTypeIsNamed() throws {
    #expect(try error { $0.describe("x", [256], type: 10, offset: 0) }.contains("`x` has the type Q2_K"))
    #expect(try error { $0.describe("x", [256], type: 99, offset: 0) }.contains("`x` has the type number 99"))
  }

  @Test("an array's length is checked against the bytes that are there, by its item type")
  func wildArrayLengths() throws {
    func array(_ type: UInt32, _ count: UInt64) -> Data { GGUFBytes.number(type) + GGUFBytes.number(count) }
    // After the length, the file has 32 bytes and padding: enough for this many bytes, but not for this many strings.
    for (type, count) in [(UInt32(8), UInt64(20)), (9, 20), (10, 20), (12, 20), (4, 40), (2, 60), (0, 1 << 40)] {
      let text = try error { $0.add("a", type: 9, array(type, count)) }
      #expect(text.contains("the length of `a` says \(count), more than the rest"), "\(type): \(text)")
    }
    #expect(try error { $0.add("a", type: 9, array(77, 1)) }.contains("the unknown value type 77"))
  }

  @Test("a sparse file's wild array length is refused before memory is reserved for it")
  func sparseFiles() throws {
    var file = GGUFBytes()
    file.add("a", type: 9, GGUFBytes.number(UInt32(0)) + GGUFBytes.number(UInt64(3) << 30))
    let scratch = try Scratch()
    let path = try scratch.put("sparse.gguf", file.data)
    #expect(truncate(path, 4 << 30) == 0)
    #expect(try message { _ = try GGUFFile(path: path) }.contains("brings the arrays above 16777216 items"))
  }

  @Test("tensors with impossible shapes or offsets are refused")
  func impossibleTensors() throws {
    #expect(try error { $0.describe("x", [4, 5], type: 0, offset: 0) }.contains("beyond the end of the file"))
    #expect(try error { $0.describe("x", [4], type: 0, offset: 64) }.contains("beyond the end of the file"))
    #expect(try error { $0.describe("x", [4], type: 0, offset: 8) }.contains("not a multiple of 32"))
    #expect(try error { $0.describe("x", [4], type: 0, offset: .max) }.contains("beyond the end of the file"))
    #expect(try error { $0.describe("x", [.max, 2], type: 0, offset: 0) }.contains("impossible shape"))
    #expect(try error { $0.describe("x", [1 << 62, 8], type: 0, offset: 0) }.contains("impossible shape"))
    #expect(
      try error { $0.describe("x", [16, 2], type: 8, offset: 0) }.contains("`x` of type Q8_0 has the impossible"))
    #expect(try error { $0.describe("x", [1, 1, 1, 1, 1], type: 0, offset: 0) }.contains("5 dimensions"))
    let twice = try error {
      $0.describe("x", [4], type: 0, offset: 0)
      $0.describe("x", [4], type: 0, offset: 32)
    }
    #expect(twice.contains("two tensors are named `x`"))
  }

  @Test("metadata with impossible types or lengths are refused")
  func impossibleMetadata() throws {
    #expect(try error { $0.add("k", type: 77, Data()) }.contains("`k` has the unknown value type 77"))
    #expect(try error { $0.add("k", type: 8, GGUFBytes.number(UInt64.max)) }.contains("more than the rest"))
    #expect(
      try error { $0.add("k", type: 9, GGUFBytes.number(UInt32(4)) + GGUFBytes.number(UInt64(1) << 40)) }
        .contains("the length of `k` says 1099511627776"))
    #expect(try error { $0.add("k", type: 8, GGUFBytes.number(UInt64(1)) + Data([0xFF])) }.contains("not UTF-8"))
    #expect(try error { $0.tensorCount = 1 << 60 }.contains("the number of tensors says"))
    #expect(try error { $0.add("general.alignment", 24) }.contains("not a power of two"))
    let nested = GGUFBytes.number(UInt32(9)) + GGUFBytes.number(UInt64(1))
    #expect(
      try error { $0.add("k", type: 9, nested + nested + nested + nested + nested) }.contains("more than four deep"))
    let twice = try error {
      $0.add("k", 1)
      $0.add("k", 2)
    }
    #expect(twice.contains("`k` comes twice"))
  }
}
