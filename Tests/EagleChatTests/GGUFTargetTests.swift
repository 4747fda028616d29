import EagleChat
import EagleCore
import EagleModels
import EagleStorage
import EagleTensor
import EagleText
import Foundation
import Testing

/// GGUF files as targets, without an import.
@Suite struct GGUFTargetTests {
  private func relativeError(_ values: [Float], _ reference: [Double]) -> Double {
    let difference = zip(values, reference).reduce(0.0) { $0 + (Double($1.0) - $1.1) * (Double($1.0) - $1.1) }
    return (difference / reference.reduce(0.0) { $0 + $1 * $1 }).squareRoot()
  }

  @Test(
    "a mapped model of each family computes what the model before the conversion does", arguments: FamilyFixture.names)
  func families(_ name: String) throws {
    let expected = try FamilyFixture.load(name)
    let count = expected.ids.count
    let model = try TargetModel(folder: FamilyFixture.gguf(name), context: count)
    let states = model.prefill(expected.ids, segments: [Segment(rows: 0..<count)], captureLayers: []).lastHidden
    let last = states.slice(count - 4..<count)
    // because: float32 on both sides, four to six layers; the divisor of logits is part of the final norm here
    let norm = last.values.map { $0 * model.shape.logitsDivisor }
    #expect(relativeError(norm, expected.final_norm.flatMap { $0 }) < 1e-5)
    #expect(relativeError(model.logits(last).values, expected.logits.flatMap { $0 }) < 1e-5)
  }

  @Test("config and generation settings are those of the import", arguments: FamilyFixture.names)
  func settings(_ name: String) throws {
    let (gguf, imported) = (FamilyFixture.gguf(name), try ImportedFamily(FamilyFixture.gguf(name)))
    let (mapped, read) = (try ModelSource(path: gguf), try ModelSource(path: imported.folder))
    #expect(try TargetShape(mapped) == TargetShape(read))
    let size = try TargetShape(mapped).vocabularySize
    let settings = try [mapped, read].map { try GenerationConfig($0.texts, vocabularySize: size) }
    #expect(settings[0] == settings[1] && !settings[0].stopIDs.isEmpty)
    let files = try [gguf, imported.folder].map { try TextFiles.tokenizer(ofModel: $0) }
    for name in ["tokenizer.json", "tokenizer_config.json"] {
      #expect(files[0].content(name) == files[1].content(name) && files[0].content(name) != nil)
    }
    #expect(try Tokenizer(files: files[0]).encode("ab") == Tokenizer(folder: imported.folder).encode("ab"))
  }

  // MARK: formats

  /// A model with one layer of 32 columns, once in blocks and once with their dequantised values.
  private func models(_ name: String, _ format: DType, _ scratch: GGUFScratch) throws -> (String, String) {
    let source = try scratch.put("source.gguf", try ImportFixture.model(name).file)
    func write(_ name: String, isDecoded: Bool) throws -> String {
      var edit = try GGUFEdit(source)
      try edit.quantize(format, isDecoded: isDecoded, from: source)
      return try scratch.put(name, edit.data)
    }
    return (try write("blocks.gguf", isDecoded: false), try write("floats.gguf", isDecoded: true))
  }

  @Test(
    "weights in blocks compute what their values do, rows of q and k in order again",
    arguments: ["llama", "qwen2", "qwen3"], [DType.q8_0, .q4_0, .q5_0])
  func blocks(name: String, format: DType) throws {
    let scratch = try GGUFScratch()
    let (blocks, floats) = try models(name, format, scratch)
    let ids: [Int32] = [3, 9, 1, 14, 7, 7, 2]
    let states = try [blocks, floats].map { path in
      let model = try TargetModel(folder: path)
      #expect(model.embedding.dtype == (path == blocks ? format : .float32))
      let last = model.prefill(ids, segments: [Segment(rows: 0..<7)], captureLayers: []).lastHidden
      return last.values + model.logits(last).values
    }
    // because: the same values in float32, in sums of another order
    #expect(relativeError(states[0], states[1].map(Double.init)) < 1e-5)
  }

  @Test("matrices lie in the mapped file, in the file's format; norms and biases are float32")
  func mapping() throws {
    let scratch = try GGUFScratch()
    let path = try models("qwen2", .q8_0, scratch).0
    let model = try TargetModel(folder: path)
    #expect(model.embedding.storage.isReadOnly && model.head.storage.isReadOnly)
    #expect(model.embedding.dtype == .q8_0 && model.head.dtype == .q8_0)
    let matrices = try GGUFFile(path: path).tensors.filter { $0.type == .q8_0 && $0.name != "token_embd.weight" }
    let tied = model.shape.tiedHead ? model.embedding.byteCount : 0
    #expect(model.storedBytes == matrices.reduce(tied) { $0 + $1.range.count })
    // Also float16.
    #expect(try TargetModel(folder: FamilyFixture.gguf("mistral")).embedding.dtype == .float16)
  }

  @Test("experts in MXFP4 stay in ggml's blocks")
  func experts() throws {
    let path = FamilyFixture.gguf("gpt-oss-mxfp4")
    let experts = try GGUFFile(path: path).tensors.filter { $0.type == .mxfp4 }
    let others = try GGUFFile(path: path).tensors.filter {
      $0.shape.count == 2 && !$0.name.hasSuffix(".bias") && $0.name != "token_embd.weight"
    }
    let model = try TargetModel(folder: path)
    let tied = model.shape.tiedHead ? model.embedding.byteCount : 0
    #expect(model.storedBytes == (experts + others).reduce(tied) { $0 + $1.range.count })
  }

  // MARK: identity

  @Test("the fingerprint is that of the content, wherever the file lies")
  func fingerprint() throws {
    let scratch = try GGUFScratch()
    let source = FamilyFixture.gguf("llama3")
    let data = try Data(contentsOf: URL(fileURLWithPath: source))
    func fingerprint(_ path: String) throws -> String { try TargetModel(folder: path).fingerprint }
    let own = try fingerprint(source)
    #expect(own.hasPrefix("sha256:") && own.count == 71)
    #expect(try fingerprint(try scratch.put("other.gguf", data)) == own)
    var weights = try GGUFEdit(source)
    weights.tensors[5].bytes[0] ^= 1
    #expect(try fingerprint(try scratch.put("weights.gguf", weights.data)) != own)
    var metadata = try GGUFEdit(source)
    metadata.add("general.version", "2")
    #expect(try fingerprint(try scratch.put("metadata.gguf", metadata.data)) != own)
  }

  @Test("names of templates are found, and a file without a template asks for one")
  func templates() throws {
    let scratch = try GGUFScratch()
    var edit = try GGUFEdit(FamilyFixture.gguf("llama3"))
    edit.add("tokenizer.chat_template.tool_use", "{{ 'd' }}")
    edit.add("tokenizer.chat_template.short", "{{ 'ab' }}")
    edit.add(
      "tokenizer.chat_templates", type: 9,
      GGUFEdit.number(UInt32(8)) + GGUFEdit.number(UInt64(1)) + GGUFEdit.string("short"))
    func templates(_ path: String) throws -> JSON {
      try #require(try JSON.read(GGUFTokenizer(gguf: path).config).object?["chat_template"])
    }
    let named = try templates(try scratch.put("named.gguf", edit.data)).array?.compactMap(\.object)
    #expect(named?.map { $0["name"] } == ["default", "short", "tool_use"])
    #expect(named?.map { $0["template"] } == ["{{ messages }}", "{{ 'ab' }}", "{{ 'd' }}"])
    try edit.replace("tokenizer.chat_template.short", "tokenizer.chat_template.shorx")
    let missing = try scratch.put("missing.gguf", edit.data)
    #expect(message { _ = try templates(missing) }.contains("`tokenizer.chat_template.short`"))
    var none = try GGUFEdit(FamilyFixture.gguf("llama3"))
    try none.replace("tokenizer.chat_template", "tokenizer.chat_templatx")
    let path = try scratch.put("none.gguf", none.data)
    #expect(try templates(path) == .null)
    let files = try TextFiles.tokenizer(ofModel: path)
    let tokenizer = try Tokenizer(files: files)
    let refusal = message { _ = try ChatTemplate.load(files: files, tokenizer: tokenizer) }
    #expect(refusal.hasPrefix("\(path): there is no chat_template in its metadata"))
    #expect(refusal.contains("chatml") && !refusal.contains("auto"))
  }

  private func message(_ body: () throws -> Void) -> String {
    do { try body() } catch { return "\(error)" }
    return "no error"
  }
}
