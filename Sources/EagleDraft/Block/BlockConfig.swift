import EagleCore
import EagleModels
import Foundation

// n captured layers · V target vocabulary · D draft vocabulary · B block size · L layers · r Markov rank.

/// The `config.json` of a block drafter: DeepSpec's, z-lab's for DFlash, or that of speculators.
struct BlockConfig {
  let file: ConfigFile
  let layout: HeadLayout
  let kind: BlockShape.Kind

  private static let releases: [String: BlockShape.Kind] = [
    "Qwen3DSparkModel": .dspark, "DSparkDraftModel": .dspark, "DFlashDraftModel": .dflash,
  ]
  private static let speculatorNames: [String: BlockShape.Kind] = [
    "DSparkSpeculator": .dspark, "DFlashSpeculator": .dflash,
  ]
  private static let speculators: [String: BlockShape.Kind] = ["dspark": .dspark, "dflash": .dflash]

  /// Whether a folder says that it is a block drafter.
  static func isBlock(folder: String) -> Bool {
    guard let file = try? ConfigFile(path: "\(folder)/config.json") else { return false }
    return kind(of: file) != nil
  }

  private static func kind(of file: ConfigFile) -> (HeadLayout, BlockShape.Kind)? {
    if let name = file.values["speculators_model_type"] as? String {
      return speculators[name].map { (.speculators, $0) }
    }
    if let kind = file.architectures.lazy.compactMap({ speculatorNames[$0] }).first { return (.speculators, kind) }
    return file.architectures.lazy.compactMap { releases[$0] }.first.map { (.deepspec, $0) }
  }

  init(folder: String) throws {
    let file = try ConfigFile(path: "\(folder)/config.json")
    guard let (layout, kind) = Self.kind(of: file) else {
      throw LocatedError(path: file.path, problem: "is not the config of a block drafter")
    }
    (self.layout, self.kind) = (layout, kind)
    let nested = layout == .speculators ? "transformer_layer_config" : "dflash_config"
    var values = file.values
    // Merges the nested keys, of the layer or of DFlash, with those of the head. If both have a key, the head's value
    // counts in speculators' layout, and the nested one in DFlash's.
    if let inner = file.table(nested) {
      values.merge(inner) { layout == .speculators ? $0 : $1 }
    } else if layout == .speculators {
      throw file.wrong(nested, "must be an object", advice: "download the head's config again")
    }
    if layout == .speculators { values["model_type"] = values["model_type"] ?? "qwen3" }
    self.file = ConfigFile(path: file.path, values: values)
  }

  /// The sizes of the head, checked against its target.
  ///
  /// - Parameter tensors: the names of its tensors
  func shape(_ target: TargetShape, tensors: Set<String>) throws -> BlockShape {
    try file.refuseUncomputedHead()
    try refuseOthers()
    let hidden = try file.integer("hidden_size")
    guard hidden == target.hiddenSize, try file.integer("vocab_size") == target.vocabularySize else {
      throw LocatedError(
        path: file.path, problem: "this head is for another target: hidden_size or vocab_size differ",
        advice: "the target has hidden_size \(target.hiddenSize) and vocab_size \(target.vocabularySize)")
    }
    let attention = try file.attention(hiddenSize: hidden)
    let rank = try markovRank(tensors)
    let rotary = try file.headRotaryTable()
    let samplesFromAnchor =
      file.isAbsent("sample_from_anchor") ? kind == .dspark : file.flag("sample_from_anchor")
    let block =
      try file.integerIfPresent("block_size") ?? (layout == .speculators ? 8 : kind == .dspark ? 7 : 16)
    guard (samplesFromAnchor ? 1 : 2)...64 ~= block else {
      throw file.wrong("block_size", "must be from \(samplesFromAnchor ? 1 : 2) to 64")
    }
    let layerCount = try file.integer("num_hidden_layers")
    guard layerCount <= DraftLayer.most else {
      throw file.wrong("num_hidden_layers", "must be at most \(DraftLayer.most)")
    }
    let layers = try captureLayers(target)
    return BlockShape(
      kind: kind, hiddenSize: hidden, attention: attention, intermediateSize: try file.integer("intermediate_size"),
      layers: layerCount, blockSize: block, maskToken: try maskToken(target),
      markovRank: rank, hasConfidence: try hasConfidence(tensors),
      samplesFromAnchor: samplesFromAnchor,
      lmHead: tensors.contains(BlockTensors.lmHead) ? .own : .target, vocabularySize: target.vocabularySize,
      draftVocabularySize: tensors.contains("d2t")
        ? try file.integerIfPresent("draft_vocab_size") ?? target.vocabularySize : target.vocabularySize,
      normEpsilon: Float(try file.number("rms_norm_eps")),
      ropeTheta: rotary.isAbsent("rope_theta") ? 10000 : try rotary.number("rope_theta"),
      ropeScaling: try rotary.rotary(headDimension: attention.headDimension).scaling,
      maxPositions: try file.integerIfPresent("max_position_embeddings") ?? target.maxPositions,
      captureLayers: layers, embeddingScale: try embeddingScale(target))
  }

  /// The Markov rank r; 0 if the tensors are missing, in which case the config must not state a rank.
  private func markovRank(_ tensors: Set<String>) throws -> Int {
    let stated = try file.countIfPresent("markov_rank")
    guard tensors.contains(BlockTensors.markovTable) else {
      if let stated, stated > 0 { throw file.wrong("markov_rank", "`\(BlockTensors.markovTable)` is missing") }
      return 0
    }
    guard let rank = stated ?? (kind == .dspark ? 256 : nil), rank > 0 else {
      throw file.wrong("markov_rank", "the head has a Markov head: it must be the rank of that")
    }
    return rank
  }

  private func hasConfidence(_ tensors: Set<String>) throws -> Bool {
    let isThere = tensors.contains(BlockTensors.confidence)
    if file.flag("enable_confidence_head"), !isThere {
      throw file.wrong("enable_confidence_head", "`\(BlockTensors.confidence)` is missing")
    }
    return isThere
  }

  /// The factor of the target's embeddings; 1 for speculators, whose training does not scale them.
  private func embeddingScale(_ target: TargetShape) throws -> Float {
    if !file.isAbsent("input_embedding_scale") { return Float(try file.number("input_embedding_scale")) }
    return layout == .speculators ? 1 : target.embeddingScale
  }

  private func maskToken(_ target: TargetShape) throws -> Int32 {
    guard let id = try file.countIfPresent("mask_token_id"), (0..<target.vocabularySize).contains(id) else {
      throw file.wrong("mask_token_id", "must be below the vocabulary's size \(target.vocabularySize)")
    }
    return Int32(id)
  }

  /// The captured layers, as 0-based indices of layer outputs. speculators counts layer inputs, which are one larger.
  private func captureLayers(_ target: TargetShape) throws -> [Int] {
    let key = layout == .speculators ? "aux_hidden_state_layer_ids" : "target_layer_ids"
    guard let numbers = try DraftConfigFile.layers(file.values[key], key, file) else {
      throw file.wrong(key, "must be a list of layers")
    }
    let layers = numbers.map { $0 - (layout == .speculators ? 1 : 0) }
    try target.validate(captureLayers: layers, path: file.path)
    return layers
  }

  /// Throws, by name, for settings that this program does not compute.
  private func refuseOthers() throws {
    let head = file.values["markov_head_type"] as? String ?? "vanilla"
    if head != "vanilla" { throw file.refuse("the Markov head \"\(head)\" (`markov_head_type`)") }
    for key in [
      "conv_kernel_size", "selector_rank", "attention_value_scale", "output_multiplier", "final_logit_softcapping",
    ] where !file.isAbsent(key) {
      throw file.refuse("`\(key)`")
    }
    if !file.isAbsent("confidence_head_with_markov"), !file.flag("confidence_head_with_markov"),
      !file.isAbsent("enable_confidence_head"), file.flag("enable_confidence_head"),
      try file.countIfPresent("markov_rank") ?? 0 > 0
    {
      throw file.refuse("a confidence head without the Markov head's embedding (`confidence_head_with_markov`)")
    }
    if file.flag("is_causal") || file.flag("causal") { throw file.refuse("a causal block (`is_causal`)") }
    let types = Set(file.values["layer_types"] as? [String] ?? [])
    let slides = file.flag("use_sliding_window") || file.flag("use_swa")
    if slides || !types.subtracting(["full_attention"]).isEmpty { throw file.refuse("layers with a sliding window") }
    if !file.isAbsent("rope_is_neox_style"), !file.flag("rope_is_neox_style") {
      throw file.refuse("an interleaved rotary embedding (`rope_is_neox_style`)")
    }
  }
}
