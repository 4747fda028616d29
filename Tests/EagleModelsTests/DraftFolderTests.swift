import EagleCore
import EagleDraft
import EagleModels
import EagleStorage
import EagleTensor
import Foundation
import Testing

@Suite struct DraftFolderTests {
  private let model: TargetModel
  private var target: TargetShape { model.shape }

  init() throws { model = try TargetModel(folder: TinyModel.folder("tiny-llama")) }

  private func draft(layers: [Int] = [0, 1, 2]) -> DraftModel { TinyHead(target: model).draft(layers: layers) }

  @Test("a head that is written is read back, rounded to bfloat16")
  func roundTrip() throws {
    let scratch = try ModelScratch()
    let (head, path) = (draft(layers: [1, 2, 3]), "\(scratch.path)/head")
    try DraftFolder.write(head, target: target, to: path)
    let back = try DraftFolder.read(path, target: model)
    #expect(back.shape == head.shape && back.vocabulary == head.vocabulary)
    for (a, b) in zip(head.rounded().parameters, back.parameters) {
      #expect(a.name == b.name && a.variable.value.float32().values == b.variable.value.float32().values)
    }
    let trainable = try DraftFolder.read(path, target: model, trainable: true)
    #expect(trainable.parameters.allSatisfy { $0.variable.requiresGradient && !$0.variable.value.storage.isReadOnly })
  }

  @Test("an export holds the keys and tensors that other readers expect, and no others")
  func exportedContent() throws {
    let scratch = try ModelScratch()
    try DraftFolder.write(draft(), target: target, to: "\(scratch.path)/head")
    let file = try SafetensorsFile(path: "\(scratch.path)/head/model.safetensors")
    #expect(Set(file.names) == Set(draft().shape.tensorShapes.map(\.name) + ["d2t", "t2d"]))
    #expect(file.metadata == ["format": "pt"])
    #expect(try file.entry("d2t").dtype == .int64 && file.entry("t2d").dtype == .bool)
    #expect(try file.entry("t2d").shape == [target.vocabularySize] && file.entry("fc.weight").dtype == .bfloat16)
    let ids = draft().vocabulary.targetIDs
    let offsets = try file.tensor("d2t").buffer(Int64.self).map { $0 }
    #expect(offsets.enumerated().map { Int32($0) + Int32($1) } == ids)
  }

  @Test("layers are written for both ways of counting, default or not")
  func layersAreWritten() throws {
    let scratch = try ModelScratch()
    func config(_ layers: [Int]) throws -> [String: Any] {
      let path = "\(scratch.path)/head-\(layers)"
      try DraftFolder.write(draft(layers: layers), target: target, to: path)
      let data = try Data(contentsOf: URL(fileURLWithPath: "\(path)/config.json"))
      return try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    }
    let other = try config([1, 2, 3])
    #expect(other["eagle_aux_hidden_state_layer_ids"] as? [Int] == [2, 3, 4])
    #expect((other["eagle_config"] as? [String: Any])?["eagle_aux_hidden_state_layer_ids"] as? [Int] == [1, 2, 3])
    // The default of four layers, [1, 1, 0], is not usable; that of eight is.
    let deep = TargetShape(
      family: .llama, hiddenSize: target.hiddenSize, layers: 8, attention: target.attention,
      intermediateSize: target.intermediateSize, vocabularySize: target.vocabularySize, ropeTheta: 10000,
      maxPositions: target.maxPositions)
    try DraftFolder.write(draft(layers: deep.defaultCaptureLayers), target: deep, to: "\(scratch.path)/default")
    let data = try Data(contentsOf: URL(fileURLWithPath: "\(scratch.path)/default/config.json"))
    let standard = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    #expect(standard["eagle_aux_hidden_state_layer_ids"] as? [Int] == [2, 4, 5])
    #expect((standard["eagle_config"] as? [String: Any])?["eagle_aux_hidden_state_layer_ids"] as? [Int] == [1, 3, 4])
    #expect(other["architectures"] as? [String] == ["LlamaForCausalLMEagle3"])
    #expect(other["draft_vocab_size"] as? Int == 24 && other["num_hidden_layers"] as? Int == 1)
    #expect(other["max_position_embeddings"] as? Int == target.maxPositions && other["norm_output"] == nil)
  }

  @Test("a head that knew fewer positions than its target is written with the target's")
  func positionsAreTheTargets() throws {
    let scratch = try ModelScratch()
    var shape = draft().eagle3!.shape
    shape.maxPositions = 8
    let tensors = Dictionary(uniqueKeysWithValues: draft().parameters.map { ($0.name, $0.variable.value) })
    let head = DraftModel(shape: shape, vocabulary: draft().vocabulary, tensors: tensors, trainable: false)
    try DraftFolder.write(head, target: target, to: "\(scratch.path)/head")
    #expect(
      try DraftFolder.read("\(scratch.path)/head", target: model).eagle3?.shape.maxPositions == target.maxPositions)
  }

  /// With dynamic scaling the frequencies depend on both lengths: the original one, and that of the training.
  @Test("a head with a scaled rotary embedding reads back with the frequencies of its training")
  func scaledRotary() throws {
    let scratch = try ModelScratch()
    for scaling in [RotaryScaling.dynamic(factor: 2, originalLength: 32), .linear(factor: 4)] {
      var shape = draft().eagle3!.shape
      (shape.ropeScaling, shape.maxPositions) = (scaling, 64)
      let tensors = Dictionary(uniqueKeysWithValues: draft().parameters.map { ($0.name, $0.variable.value) })
      let head = DraftModel(shape: shape, vocabulary: draft().vocabulary, tensors: tensors, trainable: false)
      try DraftFolder.write(head, target: target, to: "\(scratch.path)/head")
      let read = try #require(try DraftFolder.read("\(scratch.path)/head", target: model).eagle3?.shape)
      #expect(read.ropeScaling == scaling && read.maxPositions == 64)
    }
  }

  private func edited(
    _ scratch: ModelScratch, config edit: (inout [String: Any]) -> Void = { _ in },
    tensors change: (inout [String: Tensor]) -> Void = { _ in }
  ) throws -> String {
    try TinyHead(target: model).edited(scratch, config: edit, tensors: change)
  }

  private func refuses(_ path: String, naming word: String, location: SourceLocation = #_sourceLocation) {
    let error = #expect(throws: LocatedError.self, sourceLocation: location) {
      try DraftFolder.read(path, target: model)
    }
    #expect(error?.description.contains(word) == true, "\(error?.description ?? "")", sourceLocation: location)
  }

  @Test("heads of other tools are read: another layer name, a copy of the embedding, no t2d")
  func headsOfOtherTools() throws {
    let scratch = try ModelScratch()
    let path = try edited(
      scratch,
      tensors: { tensors in
        for name in tensors.keys where name.hasPrefix("midlayer.") {
          tensors["layers.0." + name.dropFirst("midlayer.".count)] = tensors.removeValue(forKey: name)
        }
        tensors["embed_tokens.weight"] = model.embedding
        tensors["layers.0.self_attn.rotary_emb.inv_freq"] = .zeros([4])
        tensors["t2d"] = nil
      })
    let back = try DraftFolder.read(path, target: model)
    #expect(back.vocabulary == draft().vocabulary)
    for (a, b) in zip(draft().rounded().parameters, back.parameters) {
      #expect(a.name == b.name && a.variable.value.float32().values == b.variable.value.float32().values)
    }
  }

  @Test("a head over the whole vocabulary needs no d2t")
  func wholeVocabulary() throws {
    let scratch = try ModelScratch()
    let (v, h) = (target.vocabularySize, target.hiddenSize)
    let path = try edited(
      scratch, config: { $0["draft_vocab_size"] = v },
      tensors: { tensors in
        tensors["lm_head.weight"] = .zeros([v, h])
        (tensors["d2t"], tensors["t2d"]) = (nil, nil)
      })
    #expect(try DraftFolder.read(path, target: model).vocabulary.targetIDs == (0..<Int32(v)).map { $0 })
  }

  @Test("heads for another target, with more layers or with biases are refused by name")
  func refusedHeads() throws {
    let scratch = try ModelScratch()
    refuses(try edited(scratch, config: { $0["vocab_size"] = target.vocabularySize + 1 }), naming: "another target")
    refuses(try edited(scratch, config: { $0["num_hidden_layers"] = 2 }), naming: "num_hidden_layers")
    let bias = "midlayer.self_attn.q_proj.bias"
    refuses(try edited(scratch, tensors: { $0[bias] = .zeros([4]) }), naming: bias)
    let other = Tensor.filled([target.vocabularySize, target.hiddenSize + 2], with: 1)
    refuses(try edited(scratch, tensors: { $0["embed_tokens.weight"] = other }), naming: "embed_tokens.weight")
    refuses(try edited(scratch, tensors: { $0["t2d"] = .zeros([target.vocabularySize], dtype: .bool) }), naming: "t2d")
    let descending = Tensor.zeros([24], dtype: .int64)
    for i in 0..<24 { descending.buffer(Int64.self)[i] = Int64(30 - 2 * i) }
    refuses(try edited(scratch, tensors: { $0["d2t"] = descending }), naming: "ascending")
  }

  @Test("the draft vocabulary takes the most frequent ids; ties go to the lower id")
  func mostFrequent() {
    let vocabulary = DraftVocabulary.mostFrequent(counts: [0, 5, 5, 1, 0, 0, 9], size: 4, always: [5])
    #expect(vocabulary.targetIDs == [1, 2, 5, 6])
    #expect(vocabulary.draftIDs == [-1, 0, 1, -1, -1, 2, 3])
    #expect(DraftVocabulary.mostFrequent(counts: [0, 0, 0, 7], size: 3, always: []).targetIDs == [0, 1, 3])
  }
}
