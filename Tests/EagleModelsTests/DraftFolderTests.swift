import EagleModels
import EagleStorage
import EagleTensor
import Foundation
import Testing

@Suite struct DraftFolderTests {
  private let target: TargetShape

  init() throws { target = try TargetShape(folder: TinyModel.folder("tiny-llama")) }

  private func draft(layers: [Int] = [0, 1, 2]) -> DraftModel {
    var config = DraftConfig()
    config.vocabularySize = 24
    let counts = (0..<target.vocabularySize).map { ($0 * 13) % 17 }
    return .random(
      shape: DraftShape(of: target, config, captureLayers: layers),
      vocabulary: .mostFrequent(counts: counts, size: 24, always: [3]), seed: 1)
  }

  @Test func whatIsWrittenIsReadBack() throws {
    let scratch = try ModelScratch()
    let (model, path) = (draft(layers: [1, 2, 3]), "\(scratch.path)/head")
    try DraftFolder.write(model, target: target, to: path)
    let back = try DraftFolder.read(path, target: target)
    #expect(back.shape == model.shape && back.vocabulary == model.vocabulary)
    for (a, b) in zip(model.rounded().parameters, back.parameters) {
      #expect(a.name == b.name && a.variable.value.float32().values == b.variable.value.float32().values)
    }
    let trainable = try DraftFolder.read(path, target: target, trainable: true)
    #expect(trainable.parameters.allSatisfy { $0.variable.requiresGradient && !$0.variable.value.storage.isReadOnly })
  }

  @Test func theExportHoldsWhatReadersExpectAndNothingElse() throws {
    let scratch = try ModelScratch()
    try DraftFolder.write(draft(), target: target, to: "\(scratch.path)/head")
    let file = try SafetensorsFile(path: "\(scratch.path)/head/model.safetensors")
    #expect(Set(file.names) == Set(DraftModel.tensorShapes(draft().shape).map(\.name) + ["d2t", "t2d"]))
    #expect(file.metadata == ["format": "pt"])
    #expect(try file.entry("d2t").dtype == .int64 && file.entry("t2d").dtype == .bool)
    #expect(try file.entry("t2d").shape == [target.vocabularySize] && file.entry("fc.weight").dtype == .bfloat16)
    let ids = draft().vocabulary.targetIDs
    let offsets = try file.tensor("d2t").buffer(Int64.self).map { $0 }
    #expect(offsets.enumerated().map { Int32($0) + Int32($1) } == ids)
  }

  @Test func layersAreWrittenForBothConventionsOnlyWhenTheyAreNotTheDefault() throws {
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
    #expect(other["architectures"] as? [String] == ["LlamaForCausalLMEagle3"])
    #expect(other["draft_vocab_size"] as? Int == 24 && other["num_hidden_layers"] as? Int == 1)
    #expect(other["max_position_embeddings"] as? Int == target.maxPositions && other["norm_output"] == nil)
  }

  @Test func aHeadOfAnotherTargetIsRefused() throws {
    let scratch = try ModelScratch()
    try DraftFolder.write(draft(), target: target, to: "\(scratch.path)/head")
    let folder = try scratch.copy(of: "tiny-llama") { $0["vocab_size"] = 65 }
    let other = try TargetShape(folder: folder)
    #expect(throws: ModelError.self) { try DraftFolder.read("\(scratch.path)/head", target: other) }
  }

  @Test func aHeadWithMoreThanThisProgramComputesIsRefused() throws {
    let scratch = try ModelScratch()
    let path = "\(scratch.path)/head"
    try DraftFolder.write(draft(), target: target, to: path)
    let weights = "\(path)/model.safetensors"
    let file = try SafetensorsFile(path: weights)
    let tensors = try file.names.map { (name: $0, tensor: try file.tensor($0)) }
    let bias = (name: "layers.0.self_attn.q_proj.bias", tensor: Tensor.zeros([4]))
    try SafetensorsWriter.write(path: weights, tensors: tensors + [bias])
    let error = #expect(throws: ModelError.self) { try DraftFolder.read(path, target: target) }
    #expect(error?.description.contains("layers.0.self_attn.q_proj.bias") == true)
  }

  @Test func aHeadOfTwoLayersIsRefused() throws {
    let scratch = try ModelScratch()
    let path = "\(scratch.path)/head"
    try DraftFolder.write(draft(), target: target, to: path)
    let config = URL(fileURLWithPath: "\(path)/config.json")
    var values = try JSONSerialization.jsonObject(with: Data(contentsOf: config)) as? [String: Any] ?? [:]
    values["num_hidden_layers"] = 2
    try JSONSerialization.data(withJSONObject: values).write(to: config)
    let error = #expect(throws: ModelError.self) { try DraftFolder.read(path, target: target) }
    #expect(error?.description.contains("num_hidden_layers") == true)
  }

  @Test func vocabularyTakesTheMostFrequentAndBreaksTiesByID() {
    let vocabulary = DraftVocabulary.mostFrequent(counts: [0, 5, 5, 1, 0, 0, 9], size: 4, always: [5])
    #expect(vocabulary.targetIDs == [1, 2, 5, 6])
    #expect(vocabulary.draftIDs == [-1, 0, 1, -1, -1, 2, 3])
    #expect(DraftVocabulary.mostFrequent(counts: [0, 0, 0, 7], size: 3, always: []).targetIDs == [0, 1, 3])
  }
}
