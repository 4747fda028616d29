import EagleChat
import EagleCore
import EagleModels
import EagleStorage
import EagleTensor
import Foundation
import Testing

/// A tiny GGUF file of a family from llama.cpp's converter, with the results of transformers for the weights before the
/// conversion (`Tools/fixtures/make_family_gguf.py`).
struct FamilyFixture: Decodable {
  struct Config: Decodable { let model_type: String }

  /// That of the model before the conversion.
  let config: Config
  let ids: [Int32]
  let final_norm: [[Double]]  // [4][H], of the last tokens
  let logits: [[Double]]  // [4][V]

  static let folder: String = {
    let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    return tests.appendingPathComponent("Fixtures/gguf").path
  }()

  static let names: [String] = {
    let files = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    return files.filter { $0.hasSuffix(".gguf") }.map { String($0.dropLast(5)) }.sorted()
  }()

  static func gguf(_ name: String) -> String { "\(folder)/\(name).gguf" }

  static func load(_ name: String) throws -> FamilyFixture {
    let data = try Data(contentsOf: URL(fileURLWithPath: "\(folder)/\(name).json"))
    return try JSONDecoder().decode(FamilyFixture.self, from: data)
  }
}

/// An imported model in a folder of its own.
final class ImportedFamily {
  let folder = NSTemporaryDirectory() + "/eagle-family-" + UUID().uuidString

  init(_ gguf: String) throws { try GGUFImport.run(gguf: gguf, output: folder) { _ in } }

  deinit { try? FileManager.default.removeItem(atPath: folder) }

  func config() throws -> JSON.Object {
    let bytes = try Data(contentsOf: URL(fileURLWithPath: "\(folder)/config.json"))
    return try #require(try JSON.read(bytes).object)
  }
}

@Suite struct GGUFFamilyImportTests {
  private func relativeError(_ values: [Float], _ reference: [[Double]]) -> Double {
    let reference = reference.flatMap { $0 }
    let difference = zip(values, reference).reduce(0.0) { $0 + (Double($1.0) - $1.1) * (Double($1.0) - $1.1) }
    return (difference / reference.reduce(0.0) { $0 + $1 * $1 }).squareRoot()
  }

  @Test(
    "an imported model of each family computes what the model before the conversion does",
    arguments: FamilyFixture.names)
  func states(_ name: String) throws {
    let (expected, imported) = (try FamilyFixture.load(name), try ImportedFamily(FamilyFixture.gguf(name)))
    let count = expected.ids.count
    let model = try TargetModel(folder: imported.folder, context: count)
    let states = model.prefill(expected.ids, segments: [Segment(rows: 0..<count)], captureLayers: []).lastHidden
    let last = states.slice(count - 4..<count)
    #expect(states.columns == expected.final_norm[0].count)
    // because: float32 on both sides, four to six layers; the divisor of logits is part of the final norm here
    let norm = last.values.map { $0 * model.shape.logitsDivisor }
    #expect(relativeError(norm, expected.final_norm) < 1e-5)
    #expect(relativeError(model.logits(last).values, expected.logits) < 1e-5)
  }

  @Test("fixtures of all importable families are there")
  func fixtures() throws {
    let types = try FamilyFixture.names.map { try FamilyFixture.load($0).config.model_type }
    #expect(types.count == 19 && Set(types).count == 14)
  }

  @Test(
    "the family of a file is known from its metadata",
    arguments: [
      ("mistral", "llama", "LlamaForCausalLM"), ("mixtral", "mixtral", "MixtralForCausalLM"),
      ("olmo2", "olmo2", "Olmo2ForCausalLM"), ("olmo3", "olmo3", "Olmo3ForCausalLM"),
      ("gemma3", "gemma3_text", "Gemma3ForCausalLM"), ("gpt-oss", "gpt_oss", "GptOssForCausalLM"),
      ("ministral3", "ministral3", "Ministral3ForCausalLM"), ("qwen3-moe", "qwen3_moe", "Qwen3MoeForCausalLM"),
    ])
  func families(name: String, type: String, className: String) throws {
    let config = try ImportedFamily(FamilyFixture.gguf(name)).config()
    #expect(config["model_type"] == .string(type) && config["architectures"] == [.string(className)])
  }

  @Test("the factors of Llama 3.1 become its scaling, and others a table of divisors")
  func rotaryFactors() throws {
    let usual = try #require(try ImportedFamily(FamilyFixture.gguf("llama31")).config()["rope_scaling"]?.object)
    #expect(usual["rope_type"] == "llama3" && usual["factor"]?.double == 8)
    #expect(usual["original_max_position_embeddings"] == 8192)
    let other = try #require(try ImportedFamily(FamilyFixture.gguf("llama3")).config()["rope_scaling"]?.object)
    #expect(other["rope_type"] == "longrope" && other["long_factor"] == other["short_factor"])
    #expect(other["long_factor"]?.array?.count == 4 && other["attention_factor"]?.double == 1)
  }

  @Test("floats of config.json have a point, which strict readers ask for")
  func floats() throws {
    let config = try ImportedFamily(FamilyFixture.gguf("gemma2")).config()
    #expect(config["attn_logit_softcapping"] == .number("4.0") && config["final_logit_softcapping"] == .number("1.5"))
    #expect(config["sliding_window"] == .number("7"))
  }

  @Test("experts in MXFP4 stay in MXFP4, and others become bfloat16")
  func experts() throws {
    let packed = try ImportedFamily(FamilyFixture.gguf("gpt-oss-mxfp4"))
    #expect(try packed.config()["quantization_config"]?.object?["quant_method"] == "mxfp4")
    let name = "model.layers.0.mlp.experts.gate_up_proj"
    let blocks = try SafetensorsFile(path: "\(packed.folder)/model.safetensors").tensor("\(name)_blocks")
    #expect(blocks.dtype == .uint8 && blocks.shape == [4, 64, 1, 16])
    let plain = try ImportedFamily(FamilyFixture.gguf("gpt-oss"))
    #expect(try plain.config()["quantization_config"] == nil)
    let stacked = try SafetensorsFile(path: "\(plain.folder)/model.safetensors").tensor(name)
    #expect(stacked.dtype == .bfloat16 && stacked.shape == [6, 24, 40])
  }

  @Test("a damaged table of rotary factors or of experts is refused by name")
  func damaged() throws {
    func message(_ name: String, _ old: String, _ new: String) throws -> String {
      var file = try Data(contentsOf: URL(fileURLWithPath: FamilyFixture.gguf(name)))
      file.replaceSubrange(try #require(file.range(of: Data(old.utf8))), with: Data(new.utf8))
      let path = NSTemporaryDirectory() + "/eagle-damaged-" + UUID().uuidString + ".gguf"
      defer { try? FileManager.default.removeItem(atPath: path) }
      try file.write(to: URL(fileURLWithPath: path))
      return try #require(#expect(throws: LocatedError.self) { _ = try ImportedFamily(path) }).description
    }
    #expect(try message("phi3", "rope_factors_short", "rope_factors_shorx").contains("`rope_factors_short.weight`"))
    #expect(try message("mixtral", "expert_used_count", "expert_usex_count").contains("`llama.expert_used_count`"))
    let window = try message("gpt-oss", "attention.sliding_window", "attention.sliding_windox")
    #expect(window.contains("`gpt-oss.attention.sliding_window`"))
    let experts = try message("gpt-oss", "blk.1.ffn_up_exps.bias", "blk.1.ffn_uq_exps.bias")
    #expect(experts.contains("`blk.1.ffn_up_exps.bias`"))
  }
}
