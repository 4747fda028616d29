import EagleChat
import EagleCore
import EagleModels
import EagleStorage
import EagleTensor
import Foundation
import Testing

/// Files of several parts, and files that are not targets.
@Suite struct GGUFTargetErrorTests {
  private let scratch: GGUFScratch
  private let source = FamilyFixture.gguf("llama3")

  init() throws { scratch = try GGUFScratch() }

  private func message(_ path: String, _ location: SourceLocation = #_sourceLocation) throws -> String {
    let error = #expect(throws: LocatedError.self, sourceLocation: location) { _ = try TargetModel(folder: path) }
    return try #require(error, sourceLocation: location).description
  }

  // MARK: parts

  private func name(_ number: Int, of count: Int = 3) -> String { "model-0000\(number)-of-0000\(count).gguf" }

  /// The model in three parts; returns the path of the first.
  private func split() throws -> String {
    let edit = try GGUFEdit(source)
    for (index, data) in edit.split([4, 5, edit.tensors.count - 9]).enumerated() {
      _ = try scratch.put(name(index + 1), data)
    }
    return "\(scratch.path)/\(name(1))"
  }

  @Test("the first part of a split model loads all of them")
  func parts() throws {
    let ids: [Int32] = [3, 9, 1, 14, 7]
    let states = try [source, split()].map { path in
      try TargetModel(folder: path).prefill(ids, segments: [Segment(rows: 0..<5)], captureLayers: []).lastHidden.values
    }
    #expect(states[0] == states[1])
    let parts = (1...3).map { "\(scratch.path)/\(name($0))" }
    let bytes = try parts.map { try FileTree.size(of: $0) }.reduce(0, +)
    #expect(try ModelSource(path: parts[0]).weightBytes() == bytes)
    try GGUFImport.run(gguf: parts[0], output: "\(scratch.path)/imported") { _ in }
  }

  @Test("a part that is missing, another part, and a part under another name are each one clear error")
  func wrongParts() throws {
    let first = try split()
    let (second, third) = ("\(scratch.path)/\(name(2))", "\(scratch.path)/\(name(3))")
    #expect(try message(second) == "\(second): is part 2 of 3 of a model; name the first: \(first)")
    let renamed = "\(scratch.path)/first.gguf"
    try FileManager.default.copyItem(atPath: first, toPath: renamed)
    #expect(try message(renamed).hasPrefix("\(renamed): is part 1 of 3, and its name does not end in -00001-of-00003"))
    try FileManager.default.removeItem(atPath: third)
    #expect(
      try message(first)
        == "\(third): part 3 of 3 of the model is missing; put all parts into one folder")
  }

  @Test("a part of another model is refused")
  func foreignParts() throws {
    let first = try split()
    let other = try GGUFEdit(FamilyFixture.gguf("gemma2"))
    _ = try scratch.put(name(2), other.split([4, 5, other.tensors.count - 9])[1])
    #expect(try message(first).contains("is no part of the same model: its `split` keys are those of another"))
    let own = try GGUFEdit(source)
    _ = try scratch.put(name(2), own.split([3, 6, own.tensors.count - 9])[1])
    #expect(try message(first).contains("is no part of the same model: the tensor"))
    _ = try scratch.put(name(2), own.split([4, 4, own.tensors.count - 8])[1])
    #expect(try message(first).contains("the 3 parts hold \(own.tensors.count - 1) tensors, and the first says"))
  }

  // MARK: files that are not targets

  @Test("what is no model gets one clear error that names the file")
  func noModels() throws {
    let absent = "\(scratch.path)/absent.gguf"
    #expect(try message(absent) == "\(absent): cannot open the file: No such file or directory; check the path")
    let text = try scratch.put("text.gguf", Data("hello world".utf8))
    #expect(try message(text) == "\(text): is not a GGUF file; name a file that begins with GGUF")
    let data = try Data(contentsOf: URL(fileURLWithPath: source))
    let cut = try scratch.put("cut.gguf", data.prefix(data.count - 100))
    #expect(try message(cut).contains("truncated: tensor `"))
    let header = try scratch.put("header.gguf", data.prefix(500))
    #expect(try message(header).contains("the file is damaged or incomplete: copy or download it again"))
  }

  @Test("a folder with nothing but a GGUF file says how to name it")
  func folders() throws {
    let file = try scratch.put("model.gguf", try Data(contentsOf: URL(fileURLWithPath: source)))
    let path = scratch.path
    #expect(
      try message(path)
        == "\(path): is a folder with a GGUF file and no config.json; name the file itself: \(file)")
  }

  @Test(
    "missing keys and other architectures are refused by name",
    arguments: [
      ("llama.block_count", "llama.block_counx", "`llama.block_count`"),
      ("llama.attention.head_count", "llama.attention.head_counx", "`llama.attention.head_count`"),
      ("general.architecture", "general.architecturx", "`general.architecture`"),
    ])
  func keys(old: String, new: String, named: String) throws {
    var edit = try GGUFEdit(source)
    try edit.replace(old, new)
    #expect(try message(try scratch.put("model.gguf", edit.data)).contains(named))
  }

  @Test(
    "integers where weights belong are refused by tensor",
    arguments: [
      ("llama3", "rope_freqs.weight"), ("llama3", "blk.1.attn_norm.weight"), ("gemma2", "output_norm.weight"),
    ])
  func integers(name: String, tensor: String) throws {
    var edit = try GGUFEdit(FamilyFixture.gguf(name))
    let index = try #require(edit.tensors.firstIndex { $0.name == tensor })
    edit.tensors[index].type = .int32
    let path = try scratch.put("model.gguf", edit.data)
    #expect(try message(path).hasPrefix("\(path): tensor `\(tensor)` is I32, and must hold weights;"))
  }

  @Test("a name with a line feed is refused: messages have one line")
  func lineFeeds() throws {
    var edit = try GGUFEdit(source)
    try edit.replace("llama.block_count", "llama.block\ncount")
    let text = try message(try scratch.put("model.gguf", edit.data))
    #expect(text.contains("a metadata key is longer than 65535 bytes or has control characters"))
  }

  // MARK: non-finite weights

  @Test("a scale that is not finite is refused by tensor, count and first index")
  func nonFiniteScales() throws {
    let plain = try scratch.put("source.gguf", try ImportFixture.model("qwen2").file)
    var edit = try GGUFEdit(plain)
    try edit.quantize(.q4_0, isDecoded: false, from: plain)
    let index = try #require(edit.tensors.firstIndex { $0.name == "blk.0.ffn_up.weight" })
    edit.tensors[index].bytes.replaceSubrange(3 * 18..<3 * 18 + 2, with: [0x00, 0x7c])  // the scale of row 3: infinity
    let path = try scratch.put("blocks.gguf", edit.data)
    #expect(
      try message(path).hasPrefix("\(path): `blk.0.ffn_up.weight` holds 32 non-finite values, the first at index 96;"))
    var packed = try GGUFEdit(FamilyFixture.gguf("gpt-oss-mxfp4"))
    let experts = try #require(packed.tensors.firstIndex { $0.name == "blk.1.ffn_up_exps.weight" })
    packed.tensors[experts].bytes[17] = 255
    let other = try scratch.put("packed.gguf", packed.data)
    #expect(
      try message(other).contains("`blk.1.ffn_up_exps.weight` holds 32 non-finite values, the first at index 32;"))
  }

  @Test("elements of float types in a GGUF file are looked at, too")
  func nonFiniteElements() throws {
    var edit = try GGUFEdit(FamilyFixture.gguf("mistral"))
    let index = try #require(edit.tensors.firstIndex { $0.name == "blk.1.attn_q.weight" })
    #expect(edit.tensors[index].type == .float16)
    edit.tensors[index].bytes.replaceSubrange(10..<12, with: [0xff, 0x7e])
    let path = try scratch.put("model.gguf", edit.data)
    #expect(try message(path).contains("`blk.1.attn_q.weight` holds 1 non-finite value, the first at index 5;"))
  }
}
