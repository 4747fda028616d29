import EagleCore
import EagleStorage
import EagleTensor
import Foundation
import Testing

@Suite struct GGUFWriterTests {
  private let fields: [GGUFField] = [
    .string("general.architecture", "eagle3"), .uint32("a.size", 7), .float32("a.scale", 0.5), .bool("a.flag", true),
    .strings("tokenizer.words", ["ä", "", "b c"]), .int32s("tokenizer.types", [1, -2]),
    .float32s("a.scores", [-1.5]),
  ]

  @Test("fields and tensors of every kind are read back as they were written")
  func roundTrip() throws {
    let scratch = try Scratch()
    let path = "\(scratch.path)/x.gguf"
    let matrix = Tensor((0..<192).map { Float($0) / 7 }, [3, 64])
    let ids = Tensor([3], dtype: .int64)
    for i in 0..<3 { ids.buffer(Int64.self)[i] = Int64(i) << 40 }
    let tensors: [(name: String, tensor: Tensor)] = [
      ("odd", Tensor([1, 2, 3], [3])), ("wide", matrix), ("narrow", matrix.bfloat16()), ("ids", ids),
      ("blocks", matrix.quantized(.q8_0)), ("small blocks", matrix.quantized(.q4_0)),
    ]
    try GGUFWriter.write(path: path, fields: fields, tensors: tensors)
    let file = try GGUFFile(path: path)
    #expect(file.tensors.map(\.name) == tensors.map(\.name) && file.version == 3)
    for (name, tensor) in tensors {
      let stored = try file.stored(name)
      #expect(
        stored.dtype == tensor.dtype && stored.shape == tensor.shape && stored.rawBytes.elementsEqual(tensor.rawBytes))
      #expect(try file.info(name).range.lowerBound % 32 == 0)
    }
    #expect(try file.int("a.size") == 7 && file.float("a.scale") == 0.5 && file.bool("a.flag"))
    #expect(try file.strings("tokenizer.words") == ["ä", "", "b c"] && file.ints("tokenizer.types") == [1, -2])
    #expect(file.metadata["a.scores"]?.array?.first?.float == -1.5)
    #expect(file.fields(prefix: "tokenizer.") == fields.filter { $0.key.hasPrefix("tokenizer.") })
    #expect(file.fields(prefix: "") == fields)
  }

  @Test("what the format cannot hold is refused, and nothing is left of a file that failed")
  func refusals() throws {
    let scratch = try Scratch()
    let path = "\(scratch.path)/x.gguf"
    let one = Tensor([1], [1])
    #expect(throws: LocatedError.self) {
      try GGUFWriter.write(path: path, fields: fields, tensors: [("a", one), ("a", one)])
    }
    #expect(throws: LocatedError.self) { try GGUFWriter.write(path: path, fields: fields + fields, tensors: []) }
    #expect(throws: LocatedError.self) {
      try GGUFWriter.write(path: path, fields: [], tensors: [("a", Tensor([1], dtype: .bool))])
    }
    #expect(throws: LocatedError.self) {
      try GGUFWriter.write(path: path, fields: [], announced: [.init(name: "a", dtype: .float32, shape: [1])]) { _, _ in
        throw LocatedError(path: "a", problem: "no such value")
      }
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path).isEmpty)
  }
}
