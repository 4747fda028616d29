import EagleCore
import EagleDraft
import EagleModels
import EagleStorage
import EagleTensor
import Foundation
import Testing

/// Block drafters as files.
@Suite struct BlockFileTests {
  private let target: TargetModel
  private let scratch: ModelScratch

  init() throws {
    target = try TargetModel(folder: TinyModel.folder("tiny-llama"))
    scratch = try ModelScratch()
  }

  private func head(_ change: (inout DraftConfig) -> Void = { _ in }) -> DraftModel {
    var config = DraftConfig()
    (config.architecture, config.layers, config.blockSize, config.markovRank) = (.dspark, 2, 4, 32)
    config.vocabularySize = nil
    change(&config)
    let shape = config.shape(of: target.shape, captureLayers: [0, 2], maskToken: 5)
    let counts = (0..<target.shape.vocabularySize).map { ($0 * 13) % 17 }
    return .random(
      shape: shape, vocabulary: .mostFrequent(counts: counts, size: shape.draftVocabularySize, always: []), seed: 1)
  }

  private func written(_ head: DraftModel, _ layout: HeadLayout? = nil) throws -> String {
    let path = "\(scratch.path)/\(UUID().uuidString)"
    try DraftFolder.write(head, target: target.shape, layout: layout, tables: head.tables(of: target), to: path)
    return path
  }

  @Test("a folder's line names what the head is")
  func summaries() throws {
    let path = try written(head())
    #expect(DraftFolder.isHead(path))
    let line = try DraftFolder.summary(path)
    #expect(line.contains("DSpark") && line.contains("deepspec") && line.contains("block of 4"), "\(line)")
    let small = try written(head { ($0.architecture, $0.markovRank, $0.vocabularySize) = (.dflash, nil, 24) })
    let other = try DraftFolder.summary(small)
    #expect(other.contains("DFlash") && other.contains("speculators"), "\(other)")
  }

  @Test("DeepSpec's layout has no draft vocabulary, and that of the EAGLE-3 release no block")
  func layouts() throws {
    for (layout, size) in [(HeadLayout.deepspec, 24 as Int?), (.eagle3, nil)] {
      let error = #expect(throws: LocatedError.self) { try written(head { $0.vocabularySize = size }, layout) }
      #expect(error?.description.contains("layout") == true)
    }
    let eagle3 = TinyHead(target: target).draft()
    #expect(throws: LocatedError.self) {
      try DraftFolder.write(eagle3, target: target.shape, layout: .deepspec, to: "\(scratch.path)/eagle3")
    }
  }

  /// DeepSpec's constructor asserts `num_anchors`, and its evaluator loads the folder without the target.
  @Test("DeepSpec's layout has the keys and tables that its reader needs, and reads back as the target's")
  func deepSpecFolder() throws {
    for (change, name) in [
      ({ _ in }, "Qwen3DSparkModel"),
      ({ ($0.architecture, $0.markovRank, $0.sampleFromAnchor) = (.dflash, nil, true) }, "Qwen3DSparkModel"),
      ({ ($0.architecture, $0.markovRank) = (.dflash, nil) }, "DFlashDraftModel"),
    ] as [((inout DraftConfig) -> Void, String)] {
      let path = try written(head(change))
      let data = try Data(contentsOf: URL(fileURLWithPath: "\(path)/config.json"))
      let config = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
      #expect(config["architectures"] as? [String] == [name])
      #expect(config["num_target_layers"] as? Int == target.shape.layers)
      let isAlone = name == "Qwen3DSparkModel"
      #expect((config["num_anchors"] as? Int == 512) == isAlone)
      let file = try SafetensorsFile(path: "\(path)/model.safetensors")
      #expect(file.contains("embed_tokens.weight") == isAlone && file.contains("lm_head.weight") == isAlone)
      if isAlone {
        #expect(try file.tensor("embed_tokens.weight").float32().values == target.embedding.bfloat16().float32().values)
      }
      let read = try #require(try DraftFolder.read(path, target: target).shape as? BlockShape)
      #expect(read.lmHead == .target && read.samplesFromAnchor == isAlone)
    }
  }

  @Test("a target's own mask token does not stand twice in the head's GGUF file")
  func maskTokenOfTheTarget() throws {
    let path = "\(scratch.path)/mask.gguf"
    let head = head()
    try DraftGGUF.write(
      head, target: target.shape, tokenizer: [.uint32("tokenizer.ggml.mask_token_id", 1)], type: .bf16,
      tables: head.tables(of: target), to: path)
    #expect(try GGUFFile(path: path).int("tokenizer.ggml.mask_token_id") == 5)
  }

  @Test("a GGUF file has the names, keys and rows that llama.cpp reads")
  func gguf() throws {
    let head = head { $0.vocabularySize = 24 }
    let path = "\(scratch.path)/head.gguf"
    let wide = try DraftGGUF.write(
      head, target: target.shape, tokenizer: [], type: .q8_0, tables: head.tables(of: target), to: path)
    #expect(wide == ["blk.0.ffn_down.weight", "blk.1.ffn_down.weight"], "rows of 80 elements")
    let file = try GGUFFile(path: path)
    #expect(try file.string("general.architecture") == "dflash")
    #expect(try file.int("dflash.block_size") == 4 && file.int("dflash.block_count") == 2)
    #expect(try file.ints("dflash.target_layers") == [1, 3])
    #expect(try file.bool("dflash.sample_from_anchor") && file.bool("dflash.has_confidence_head"))
    #expect(try file.int("tokenizer.ggml.mask_token_id") == 5)
    let names = Set(file.tensors.map(\.name))
    for name in [
      "fc.weight", "enc.output_norm.weight", "output_norm.weight", "output.weight", "markov_w1.weight",
      "markov_w2.weight", "conf_proj.weight", "conf_proj.bias", "d2t", "blk.1.attn_q_norm.weight",
      "blk.0.attn_norm.weight", "blk.1.ffn_down.weight",
    ] { #expect(names.contains(name), "\(name)") }
    // Rows of q keep their order, unlike those of an EAGLE-3 head.
    let own = try #require(head.rounded().parameters.first { $0.name == "layers.0.self_attn.q_proj.weight" })
    let stored = try file.tensor("blk.0.attn_q.weight").values
    let values = own.variable.value.float32().values
    #expect(zip(stored, values).allSatisfy { abs($0 - $1) <= 0.01 * 0.2 })
    let rows = Rows.select(target.head, head.vocabulary.targetIDs).float32().values
    #expect(zip(try file.tensor("output.weight").values, rows).allSatisfy { abs($0 - $1) < 0.02 })
    #expect(try file.info("conf_proj.weight").type != .q8_0, "a single row stays as it is")
    #expect(try DraftGGUF.summary(file)?.contains("DSpark") == true)
  }

  @Test("heads that llama.cpp would read as others are refused by name")
  func refusedFiles() throws {
    for (change, word) in [
      ({ ($0.architecture, $0.markovRank, $0.sampleFromAnchor) = (.dflash, nil, true) }, "anchor"),
      ({ ($0.markovRank, $0.confidenceHead) = (0, false) }, "Markov"),
    ] as [((inout DraftConfig) -> Void, String)] {
      let head = head(change)
      let error = #expect(throws: LocatedError.self) {
        try DraftGGUF.write(head, target: target.shape, tokenizer: [], type: .bf16, to: "\(scratch.path)/no.gguf")
      }
      #expect(error?.description.contains(word) == true, "\(error?.description ?? "")")
    }
  }

  /// The error of a written head whose config and tensors were changed; nil if it can be read.
  private func refusal(
    _ layout: HeadLayout? = nil, _ edit: (inout [String: Any]) -> Void,
    tensors change: (inout [String: Tensor]) -> Void = { _ in }
  ) throws -> String? {
    let path = try written(head(), layout)
    try TinyHead.edit(path, config: edit, tensors: change)
    do {
      _ = try DraftFolder.read(path, target: target)
      return nil
    } catch let error as LocatedError { return error.description }
  }

  @Test("what a folder says and this program does not compute, or what contradicts its tensors, is one error")
  func refusals() throws {
    let edits: [(String, (inout [String: Any]) -> Void)] = [
      ("block_size", { $0["block_size"] = 0 }), ("block_size", { $0["block_size"] = 65 }),
      ("block_size", { ($0["block_size"], $0["sample_from_anchor"]) = (1, false) }),
      ("num_hidden_layers", { $0["num_hidden_layers"] = 1 << 29 }), ("layers.2", { $0["num_hidden_layers"] = 3 }),
      ("mask_token_id", { $0["mask_token_id"] = 1 << 29 }), ("mask_token_id", { $0["mask_token_id"] = nil }),
      ("target_layer_ids", { $0["target_layer_ids"] = nil }), ("layers", { $0["target_layer_ids"] = [0, 99] }),
      ("markov_head_type", { $0["markov_head_type"] = "gated" }), ("markov_w1", { $0["markov_rank"] = 7 }),
      ("is_causal", { $0["is_causal"] = true }), ("conv_kernel_size", { $0["conv_kernel_size"] = 3 }),
      ("sliding", { $0["use_sliding_window"] = true }), ("another target", { $0["vocab_size"] = 9 }),
      ("rope_is_neox_style", { $0["rope_is_neox_style"] = false }),
    ]
    for (word, edit) in edits {
      let message = try #require(try refusal(nil, edit), "\(word)")
      #expect(message.contains(word), "\(message)")
    }
    for layers: [Any] in [[Int.min, 1], [1.5, 2]] {
      let message = try refusal(.speculators, { $0["aux_hidden_state_layer_ids"] = layers })
      #expect(message?.contains("aux_hidden_state_layer_ids") == true, "\(message ?? "read")")
    }
    let missing = try refusal(nil, { _ in }, tensors: { $0["confidence_head.proj.weight"] = nil })
    #expect(missing?.contains("enable_confidence_head") == true, "\(missing ?? "read")")
    let unknown = try refusal(nil, { _ in }, tensors: { $0["gate.weight"] = Tensor.zeros([2, 2]) })
    #expect(unknown?.contains("gate.weight") == true)
    #expect(try refusal(nil, { _ in }) == nil && refusal(.speculators, { _ in }) == nil)
  }
}
