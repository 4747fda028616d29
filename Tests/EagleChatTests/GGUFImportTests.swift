import EagleChat
import EagleCore
import EagleStorage
import Foundation
import Testing

/// The fixture that `Tools/fixtures/gguf_import.py` makes with the gguf package.
struct ImportFixture: Decodable {
  struct Expected: Decodable {
    let shape: [Int]
    let sha256: String
  }

  struct Model: Decodable {
    let name: String
    let isTied: Bool
    let headDimension: Int
    let file: Data
    let tensors: [String: Expected]
  }

  let models: [Model]

  static func model(_ name: String) throws -> Model {
    let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    let data = try Data(contentsOf: tests.appendingPathComponent("Fixtures/gguf-import.json"))
    return try #require(try JSONDecoder().decode(ImportFixture.self, from: data).models.first { $0.name == name })
  }
}

/// A folder of its own for one test, with a GGUF file and a path for the import.
private final class ImportScratch {
  let path = NSTemporaryDirectory() + "/eagle-import-" + UUID().uuidString
  var gguf: String { "\(path)/model.gguf" }
  var output: String { "\(path)/out" }

  init(_ file: Data) throws {
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    try file.write(to: URL(fileURLWithPath: gguf))
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  @discardableResult
  func run() throws -> [String] {
    var lines: [String] = []
    try GGUFImport.run(gguf: gguf, output: output) { lines.append($0) }
    return lines
  }

  /// The message of an import that must fail and leave nothing new in the folder.
  func message(_ location: SourceLocation = #_sourceLocation) throws -> String {
    let before = try entries()
    let error = #expect(throws: LocatedError.self, sourceLocation: location) { try run() }
    #expect(try entries() == before, sourceLocation: location)
    return try #require(error, sourceLocation: location).description
  }

  func entries(_ folder: String = "") throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: "\(path)/\(folder)").sorted()
  }

  func json(_ name: String) throws -> [String: Any] {
    let data = try Data(contentsOf: URL(fileURLWithPath: "\(output)/\(name)"))
    return try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
  }
}

extension Data {
  fileprivate static func ggufString(_ text: String) -> Data {
    Swift.withUnsafeBytes(of: UInt64(text.utf8.count).littleEndian) { Data($0) } + Data(text.utf8)
  }

  fileprivate static func ggufNumber(_ value: UInt32) -> Data {
    Swift.withUnsafeBytes(of: value.littleEndian) { Data($0) }
  }

  /// This GGUF file with an additional metadata pair. A second pair keeps the alignment of the tensors.
  fileprivate func adding(_ key: String, type: UInt32, _ value: Data) -> Data {
    var pairs = Data.ggufString(key) + Data.ggufNumber(type) + value
    let filler = Data.ggufString("filler") + Data.ggufNumber(8)
    let length = (32 - (pairs.count + filler.count + 8) % 32) % 32
    pairs += filler + Data.ggufString(String(repeating: "x", count: length))
    var file = self
    file[16] += 2
    file.insert(contentsOf: pairs, at: 24)
    return file
  }

  /// Replaces the first occurrence by a text of the same length.
  fileprivate func replacing(_ old: String, _ new: String) throws -> Data {
    var file = self
    file.replaceSubrange(try #require(range(of: Data(old.utf8))), with: Data(new.utf8))
    return file
  }
}

@Suite struct GGUFImportTests {
  @Test("imported weights are those before the conversion to GGUF", arguments: ["llama", "qwen2", "qwen3"])
  func weights(_ name: String) throws {
    let model = try ImportFixture.model(name)
    let scratch = try ImportScratch(model.file)
    try scratch.run()
    let file = try SafetensorsFile(path: "\(scratch.output)/model.safetensors")
    #expect(Set(file.names) == Set(model.tensors.keys))
    #expect(file.metadata == ["format": "pt"])
    for (name, expected) in model.tensors {
      let tensor = try file.tensor(name)
      #expect(tensor.dtype == .bfloat16 && tensor.shape == expected.shape)
      let bytes = withExtendedLifetime(tensor.storage) { Data(tensor.rawBytes) }
      #expect(FileDigest.sha256(bytes) == expected.sha256, "\(name)")
    }
  }

  @Test("config.json has the values of the metadata", arguments: ["llama", "qwen2", "qwen3"])
  func config(_ name: String) throws {
    let model = try ImportFixture.model(name)
    let scratch = try ImportScratch(model.file)
    try scratch.run()
    let config = try scratch.json("config.json")
    #expect(config["model_type"] as? String == name)
    #expect(config["architectures"] as? [String] == ["\(name.prefix(1).uppercased())\(name.dropFirst())ForCausalLM"])
    let sizes = ["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "max_position_embeddings"]
    #expect(sizes.map { config[$0] as? Int } == [20, 32, 32, 1, 64])
    #expect(config["num_attention_heads"] as? Int == (name == "qwen3" ? 2 : 4))
    #expect(config["num_key_value_heads"] as? Int == (name == "qwen3" ? 1 : 2))
    #expect(config["head_dim"] as? Int == model.headDimension)
    #expect(config["rms_norm_eps"] as? Double == 1e-6)
    #expect(config["rope_theta"] as? Double == (name == "qwen3" ? 1_000_000 : 10_000))
    #expect(config["tie_word_embeddings"] as? Bool == model.isTied)
    #expect(["bos", "eos", "pad"].map { config["\($0)_token_id"] as? Int } == [1, 0, 0])
    #expect(config["torch_dtype"] as? String == "bfloat16")
  }

  @Test("the tokenizer files are written")
  func tokenizerFiles() throws {
    let scratch = try ImportScratch(try ImportFixture.model("llama").file)
    try scratch.run()
    #expect(
      try scratch.entries("out") == [
        "config.json", "generation_config.json", "import.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json",
      ])
    let config = try scratch.json("tokenizer_config.json")
    #expect(config["chat_template"] as? String == "{{ messages }}")
    #expect(config["bos_token"] as? String == "<|start|>" && config["eos_token"] as? String == "<|end|>")
    let tokenizer = try #require(try scratch.json("tokenizer.json")["model"] as? [String: Any])
    #expect((tokenizer["vocab"] as? [String: Int])?["ab"] == 5)
    #expect(try scratch.json("generation_config.json")["eos_token_id"] as? Int == 0)
  }

  @Test("a second import of the same file changes nothing")
  func repeatedImport() throws {
    let scratch = try ImportScratch(try ImportFixture.model("llama").file)
    try scratch.run()
    let stamp = try FileManager.default.attributesOfItem(atPath: "\(scratch.output)/model.safetensors")
    #expect(try scratch.run() == ["\(scratch.output) already holds a complete import of model.gguf"])
    let again = try FileManager.default.attributesOfItem(atPath: "\(scratch.output)/model.safetensors")
    #expect(stamp[.systemFileNumber] as? Int == again[.systemFileNumber] as? Int)
  }

  @Test("a folder with other content is refused and left alone")
  func filledFolders() throws {
    let model = try ImportFixture.model("llama").file
    let scratch = try ImportScratch(model)
    try FileManager.default.createDirectory(atPath: scratch.output, withIntermediateDirectories: false)
    try Data("x".utf8).write(to: URL(fileURLWithPath: "\(scratch.output)/notes.txt"))
    #expect(try scratch.message().contains("exists and is not empty; choose another output folder"))
    try FileManager.default.removeItem(atPath: "\(scratch.output)/notes.txt")
    try scratch.run()  // an empty folder is accepted
    try Data("{}".utf8).write(to: URL(fileURLWithPath: "\(scratch.output)/config.json"))
    #expect(try scratch.message().contains("that was changed afterwards"))
    try model.adding("a", type: 4, .ggufNumber(1)).write(to: URL(fileURLWithPath: scratch.gguf))
    #expect(try scratch.message().contains("holds an import of another file, model.gguf"))
  }

  @Test("what a killed import has left is removed")
  func killedImport() throws {
    let scratch = try ImportScratch(try ImportFixture.model("llama").file)
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/true")
    try process.run()
    process.waitUntilExit()
    let leftover = "\(scratch.path)/.out.tmp-\(process.processIdentifier)"
    try FileManager.default.createDirectory(atPath: leftover, withIntermediateDirectories: false)
    try Data("half".utf8).write(to: URL(fileURLWithPath: "\(leftover)/model.safetensors"))
    try scratch.run()
    #expect(try scratch.entries() == ["model.gguf", "out"])
  }
}

@Suite struct RefusedGGUFImportTests {
  private func message(_ change: (Data) throws -> Data) throws -> String {
    try ImportScratch(try change(try ImportFixture.model("llama").file)).message()
  }

  @Test("a llama whose file does not name its pre-tokenizer is refused")
  func unnamedPreTokenizers() throws {
    let other = "tokenizer.ggml.prx"
    let missing = try message { try $0.replacing("tokenizer.ggml.pre", other) }
    #expect(missing.contains("has no metadata key `tokenizer.ggml.pre`; how a llama model cuts"), "\(missing)")
    let unnamed = try message {
      try $0.replacing("tokenizer.ggml.pre", other).adding("tokenizer.ggml.pre", type: 8, .ggufString("default"))
    }
    #expect(unnamed.contains("\"default\", which names no pre-tokenizer"), "\(unnamed)")
  }

  @Test("a Qwen model's pre-tokenizer is known from its architecture", arguments: ["qwen2", "qwen3"])
  func preTokenizersOfTheArchitecture(_ name: String) throws {
    let file = try ImportFixture.model(name).file.replacing("tokenizer.ggml.pre", "tokenizer.ggml.prx")
    let scratch = try ImportScratch(file)
    try scratch.run()
    let words = String(
      decoding: try Data(contentsOf: URL(fileURLWithPath: "\(scratch.output)/tokenizer.json")), as: UTF8.self)
    #expect(words.contains("NFC") && words.contains("Isolated"))
  }

  @Test("rope scaling that is not computed is refused by name")
  func ropeScaling() throws {
    let type = try message { $0.adding("llama.rope.scaling.type", type: 8, .ggufString("xpos")) }
    #expect(type.contains("scales its rotary positions (`llama.rope.scaling.type` xpos), which is not supported"))
    let yarn = try message { $0.adding("llama.rope.scaling.type", type: 8, .ggufString("yarn")) }
    #expect(yarn.contains("no metadata key `llama.rope.scaling.factor`"))
    let extrapolation = try message {
      $0.adding("llama.rope.scaling.yarn_ext_factor", type: 6, .ggufNumber(Float(0.5).bitPattern))
    }
    #expect(extrapolation.contains("`llama.rope.scaling.yarn_ext_factor`"))
    let factor = try message { $0.adding("llama.rope.scaling.factor", type: 6, .ggufNumber(Float(4).bitPattern)) }
    #expect(factor.contains("`llama.rope.scaling.factor`"))
    let none = try ImportFixture.model("llama").file.adding("llama.rope.scaling.type", type: 8, .ggufString("none"))
    try ImportScratch(none).run()
  }

  @Test("models that are not supported are refused by name")
  func otherModels() throws {
    #expect(
      try message { try $0.replacing("llama", "gemma") }.contains(
        "`gemma` is not computed; models of llama, mistral3"))
    #expect(try message { try $0.replacing("gpt2", "bert") }.contains("the tokenizer `bert` cannot be read"))
    let experts = try message { $0.adding("llama.expert_count", type: 4, .ggufNumber(8)) }
    #expect(experts.contains("no metadata key `llama.expert_used_count`"))
    let partial = try message { $0.adding("llama.rope.dimension_count", type: 4, .ggufNumber(4)) }
    #expect(partial.contains("`llama.rope.dimension_count` is 4, the head dimension 8"))
  }

  @Test(
    "metadata that changes a layer and that the family does not have is refused by name",
    arguments: ["attention.sliding_window", "expert_shared_count"])
  func switches(_ key: String) throws {
    let text = try message { $0.adding("llama.\(key)", type: 4, .ggufNumber(3)) }
    #expect(text.contains("the model uses `llama.\(key)`, which is not supported"), "\(text)")
    try ImportScratch(try ImportFixture.model("llama").file.adding("llama.\(key)", type: 4, .ggufNumber(0))).run()
  }

  @Test("a multiplier that the family does not have is refused by name")
  func multipliers() throws {
    let text = try message { $0.adding("llama.logit_scale", type: 6, .ggufNumber(Float(2).bitPattern)) }
    #expect(text.contains("the model uses `llama.logit_scale`"), "\(text)")
  }

  @Test("missing, unknown and misshapen tensors are named")
  func wrongTensors() throws {
    #expect(
      try message { try $0.replacing("blk.0.ffn_up", "blk.0.ffn_uq") }.contains("no tensor `blk.0.ffn_up.weight`"))
    let stray = try message { try $0.replacing("llama.attention.head_count_kv", "llama.attention.head_count_kw") }
    #expect(stray.contains("tensor `blk.0.attn_k.weight` has the shape [16, 32], the metadata says [32, 32]"))
    let absent = try message { try $0.replacing("llama.block_count", "llama.block_cound") }
    #expect(absent.contains("no metadata key `llama.block_count`"))
  }

  @Test("a vocabulary with an invalid id or an unknown pre-tokenizer is refused")
  func invalidVocabularies() throws {
    let eot = try message { $0.adding("tokenizer.ggml.eot_token_id", type: 4, .ggufNumber(99)) }
    #expect(eot.contains("`tokenizer.ggml.eot_token_id` is 99, the vocabulary has 16 tokens"))
    let pre = try ImportFixture.model("llama").file.replacing("smollm", "smollx")
    let text = try ImportScratch(pre).message()
    #expect(text.contains("model.gguf: ") && text.contains("smollx"), "\(text)")
  }

  @Test("truncated files are refused")
  func truncatedFiles() throws {
    let whole = try ImportFixture.model("llama").file
    for count in [0, 3, 30, 500, whole.count / 2, whole.count - 200] {
      let text = try ImportScratch(whole.prefix(count)).message()
      #expect(text.contains("truncated") || text.contains("more than the rest"), "\(count): \(text)")
    }
  }
}
