import EagleCore
import EagleDraft
import EagleModels
import EagleStorage
import EagleTensor
import Foundation
import Testing

/// All properties of a head survive its file, in every format.
@Suite struct HeadVariantTests {
  private let target: TargetModel
  private let scratch: ModelScratch

  init() throws {
    target = try TargetModel(folder: TinyModel.folder("tiny-llama"))
    scratch = try ModelScratch()
  }

  private func expectSame(_ back: DraftModel, _ head: DraftModel) {
    #expect(back.shape == head.shape && back.vocabulary == head.vocabulary)
    #expect(back.parameters.map(\.name) == head.parameters.map(\.name))
    for (a, b) in zip(head.rounded().parameters, back.parameters) {
      #expect(a.variable.value.float32().values == b.variable.value.float32().values, "\(a.name)")
    }
  }

  @Test("a head of each variant is read back from both layouts", arguments: HeadVariant.all)
  func folders(variant: HeadVariant) throws {
    let head = variant.draft(of: target)
    for layout in [nil, HeadLayout.eagle3, .speculators] {
      let path = "\(scratch.path)/\(layout?.rawValue ?? "automatic")"
      if layout == .eagle3, variant.needsSpeculators {
        let error = #expect(throws: LocatedError.self) {
          try DraftFolder.write(head, target: target.shape, layout: layout, to: path)
        }
        #expect(error?.description.contains("no key for") == true)
        continue
      }
      try DraftFolder.write(head, target: target.shape, layout: layout, to: path)
      expectSame(try DraftFolder.read(path, target: target), head)
      let config = try Data(contentsOf: URL(fileURLWithPath: "\(path)/config.json"))
      let isSpeculators = String(decoding: config, as: UTF8.self).contains("Eagle3Speculator")
      #expect(isSpeculators == (layout == .speculators || (layout == nil && variant.prefersSpeculators)))
      #expect(DraftFolder.isHead(path))
    }
  }

  @Test(
    "a head of each variant is read back from a GGUF file, or refused by the name of its switch",
    arguments: HeadVariant.all)
  func files(variant: HeadVariant) throws {
    let head = variant.draft(of: target)
    let path = "\(scratch.path)/head.gguf"
    if let missing = variant.missingInGGUF {
      let error = #expect(throws: LocatedError.self) {
        try DraftGGUF.write(head, target: target.shape, tokenizer: [], type: .bf16, to: path)
      }
      #expect(error?.description.contains(missing) == true, "\(error?.description ?? "")")
      #expect(!FileManager.default.fileExists(atPath: path))
      return
    }
    try DraftGGUF.write(head, target: target.shape, tokenizer: [], type: .bf16, to: path)
    expectSame(try DraftFolder.read(path, target: target), head)
  }

  @Test("an embedding that differs from the target's is the head's own")
  func ownEmbedding() throws {
    let head = TinyHead(target: target)
    func read(_ change: (Tensor) -> Void) throws -> DraftModel {
      let path = try head.edited(
        scratch,
        tensors: {
          let copy = Tensor(target.embedding.shape)
          Elementwise.copy(target.embedding.float32(), into: copy)
          change(copy)
          $0["embed_tokens.weight"] = copy.bfloat16()
        })
      return try DraftFolder.read(path, target: target)
    }
    #expect(try read { _ in }.eagle3?.shape.variant.embedding == .target)
    // One row, as in an embedding of which training has changed only one token.
    let other = try read { for i in 0..<$0.columns { $0.floats[5 * $0.columns + i] *= 1.02 } }
    #expect(other.shape.details == ["own embedding"])
  }

  @Test("an own embedding stays one, even while it still is the target's")
  func untrainedEmbedding() throws {
    let variant = try #require(HeadVariant.all.first { $0.name == "own embedding" })
    let head = variant.draft(of: target).withEmbedding(of: target)
    for layout in [HeadLayout.eagle3, .speculators] {
      let path = "\(scratch.path)/untrained-\(layout)"
      try DraftFolder.write(head, target: target.shape, layout: layout, to: path)
      expectSame(try DraftFolder.read(path, target: target), head)
    }
    let file = "\(scratch.path)/untrained.gguf"
    try DraftGGUF.write(head, target: target.shape, tokenizer: [], type: .bf16, to: file)
    expectSame(try DraftFolder.read(file, target: target), head)
  }

  @Test("settings that a target's head cannot have are one error that names the key")
  func unfitConfigs() throws {
    func message(_ change: (inout DraftConfig) -> Void) -> String {
      var config = DraftConfig()
      config.vocabularySize = 24
      change(&config)
      do {
        try config.validate()
        try config.requireFit(target.shape)
        return "fits"
      } catch { return "\(error)" }
    }
    for (words, change) in [
      ("draft.lm_head", { $0.lmHead = .target }), ("draft.rope_scaling", { $0.ropeScaling = .target }),
      ("draft.kv_heads", { $0.heads = 5 }), ("draft.embedding", { $0.hiddenSize = 16 }),
      ("draft.start", { ($0.hiddenSize, $0.embedding, $0.start) = (16, .own, .fitted) }),
      ("does not draft from it", { ($0.architecture, $0.start) = (.dflash, .fitted) }),
      ("fits", { ($0.architecture, $0.start) = (.dspark, .fitted) }),
      ("init_from", { ($0.initFrom, $0.kvHeads) = ("x", 3) }),
      ("fc_norm", { ($0.fcNorm, $0.normBeforeFC) = (true, true) }),
      ("fits", { $0.hiddenSize = target.shape.hiddenSize }), ("draft.vocabulary_size", { $0.vocabularySize = 100_000 }),
    ] as [(String, (inout DraftConfig) -> Void)] {
      let found = message(change)
      #expect(found.contains(words), "\(words): \(found)")
    }
  }

  @Test(
    "a config and tensors that contradict each other are refused",
    arguments: [
      (#"{"norm_before_fc": true, "fc_norm": true}"#, "exclude each other"),
      (#"{"norm_before_fc": true}"#, "input_norm.weight"), (#"{"fc_norm": true}"#, "fc_norm.0.weight"),
      (#"{"use_qk_norm": true}"#, "q_norm.weight"), (#"{"norm_before_residual": 1.5}"#, "must be true or false"),
      (#"{"num_aux_hidden_states": 5}"#, "3 captured layers are named"),
      (#"{"target_hidden_size": 4096}"#, "another target"),
      (#"{"layer_types": ["linear_attention"]}"#, "layer_types"),
      (#"{"layer_types": ["sliding_attention"]}"#, "sliding_window"),
      (#"{"use_sliding_window": true}"#, "sliding_window"), (#"{"sliding_window": 128}"#, "`sliding_window` is 128"),
      (#"{"norm_output": true, "fc_norm": true}"#, "two meanings"),
      (#"{"num_hidden_layers": 2}"#, "`num_hidden_layers` is 2, and there are tensors of 1 layer"),
      (#"{"eagle_config": {"num_hidden_layers": 36}}"#, "`eagle_config.num_hidden_layers` is 36"),
      (#"{"layer_types": ["full_attention", "full_attention"]}"#, "1 layer that are not"),
    ])
  func contradictions(json: String, word: String) throws {
    let changes = try #require(try JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any])
    let path = try TinyHead(target: target).edited(scratch, config: { $0.merge(changes) { $1 } })
    let error = #expect(throws: LocatedError.self) { try DraftFolder.read(path, target: target) }
    #expect(error?.description.contains(word) == true, "\(error?.description ?? "")")
  }
}
