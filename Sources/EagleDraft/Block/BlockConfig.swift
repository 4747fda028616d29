import EagleCore
import EagleModels
import EagleStorage
import EagleTensor
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
    // The layer's keys, or DFlash's own, beside those of the head.
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
    let rotary = try file.rotaryTable()
    let samplesFromAnchor =
      file.isAbsent("sample_from_anchor") ? kind == .dspark : file.flag("sample_from_anchor")
    let block =
      try file.integerIfPresent("block_size") ?? (layout == .speculators ? 8 : kind == .dspark ? 7 : 16)
    guard (samplesFromAnchor ? 1 : 2)...64 ~= block else {
      throw file.wrong("block_size", "must be from \(samplesFromAnchor ? 1 : 2) to 64")
    }
    let layerCount = try file.integer("num_hidden_layers")
    guard layerCount <= BlockShape.mostLayers else {
      throw file.wrong("num_hidden_layers", "must be at most \(BlockShape.mostLayers)")
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

  /// r; 0 without the tensors, which the config must then not name.
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

  /// The target's factor, which speculators' training leaves out.
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

  /// Counted from 0, by outputs; speculators counts inputs.
  private func captureLayers(_ target: TargetShape) throws -> [Int] {
    let key = layout == .speculators ? "aux_hidden_state_layer_ids" : "target_layer_ids"
    guard let numbers = try DraftConfigFile.layers(file.values[key], key, file) else {
      throw file.wrong(key, "must be a list of layers")
    }
    let layers = numbers.map { $0 - (layout == .speculators ? 1 : 0) }
    try target.validate(captureLayers: layers, path: file.path)
    return layers
  }

  /// Throws, by name, for what is not computed here.
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

extension BlockShape {
  package func folder(
    _ layout: HeadLayout?, target: TargetShape, verifier: String?, path: String
  ) throws -> HeadFolder {
    let isWhole = draftVocabularySize == vocabularySize
    let layout = layout ?? (isWhole ? .deepspec : .speculators)
    var values: [String: Any]
    switch layout {
    case .deepspec where isWhole: values = release(target)
    case .deepspec:
      throw LocatedError(
        path: path,
        problem: "DeepSpec's layout has no draft vocabulary, and this head has one of \(draftVocabularySize)",
        advice: "write the layout speculators")
    case .speculators where embeddingScale == 1: values = speculators(target, verifier)
    case .speculators:
      throw LocatedError(
        path: path,
        problem: "speculators' layout does not scale embeddings, and this head reads those of its target "
          + "times \(embeddingScale)",
        advice: isWhole
          ? "write the layout deepspec" : "train it with draft.vocabulary_size: all, or export a .gguf file")
    case .eagle3:
      throw LocatedError(
        path: path, problem: "the layout of the EAGLE-3 release is not for a block drafter",
        advice: "write the layout deepspec or speculators")
    }
    values["torch_dtype"] = "bfloat16"
    if lmHead == .own { values[HeadEmbedding.headKey] = true }
    let data = try JSONSerialization.data(withJSONObject: values, options: [.prettyPrinted, .sortedKeys])
    return HeadFolder(
      config: data, tensorName: { $0 }, headRows: lmHead == .target && !isWhole ? BlockTensors.lmHead : nil)
  }

  /// DeepSpec's keys, or those of a DFlash release.
  private func release(_ target: TargetShape) -> [String: Any] {
    var values = layer(target).merging(heads) { $1 }
    values["block_size"] = blockSize
    if embeddingScale != 1 { values["input_embedding_scale"] = Double(embeddingScale) }
    values["sample_from_anchor"] = samplesFromAnchor
    if kind == .dflash {
      values["architectures"] = ["DFlashDraftModel"]
      values["dflash_config"] = ["mask_token_id": Int(maskToken), "target_layer_ids": captureLayers] as [String: Any]
    } else {
      values["architectures"] = ["Qwen3DSparkModel"]
      (values["mask_token_id"], values["target_layer_ids"]) = (Int(maskToken), captureLayers)
    }
    values["bos_token_id"] = target.bosToken.map { Int($0) }
    values["eos_token_id"] = target.eosTokens.count == 1 ? Int(target.eosTokens[0]) : target.eosTokens.map { Int($0) }
    return values
  }

  private var heads: [String: Any] {
    guard kind == .dspark else { return [:] }
    return [
      "markov_rank": markovRank, "markov_head_type": "vanilla", "enable_confidence_head": hasConfidence,
      "confidence_head_with_markov": markovRank > 0,
    ]
  }

  private func speculators(_ target: TargetShape, _ verifier: String?) -> [String: Any] {
    let proposal: [String: Any] = [
      "proposal_type": "greedy", "speculative_tokens": proposals, "verifier_accept_k": 1, "accept_tolerance": 0.0,
    ]
    var layer = layer(target)
    if layer["rope_scaling"] == nil {
      layer["rope_parameters"] = ["rope_type": "default", "rope_theta": ropeTheta] as [String: Any]
    }
    let values: [String: Any] = [
      "architectures": [kind == .dspark ? "DSparkSpeculator" : "DFlashSpeculator"],
      "speculators_model_type": kind.rawValue, "speculators_version": "0.9.0",
      "draft_vocab_size": draftVocabularySize, "block_size": blockSize, "mask_token_id": Int(maskToken),
      "sample_from_anchor": samplesFromAnchor, "aux_hidden_state_layer_ids": captureLayers.map { $0 + 1 },
      "transformer_layer_config": layer, "tie_word_embeddings": false,
      "speculators_config": [
        "algorithm": kind.rawValue, "default_proposal_method": "greedy", "proposal_methods": [proposal],
        "verifier": ["name_or_path": verifier ?? NSNull(), "architectures": [String]()] as [String: Any],
      ] as [String: Any],
    ]
    return values.merging(heads) { $1 }
  }

  /// The keys of the decoder layers.
  private func layer(_ target: TargetShape) -> [String: Any] {
    var values: [String: Any] = [
      "model_type": "qwen3", "hidden_size": hiddenSize, "intermediate_size": intermediateSize,
      "num_attention_heads": attention.heads, "num_key_value_heads": attention.kvHeads,
      "head_dim": attention.headDimension, "num_hidden_layers": layers, "vocab_size": vocabularySize,
      "rope_theta": ropeTheta, "rms_norm_eps": Double("\(normEpsilon)") ?? Double(normEpsilon), "hidden_act": "silu",
      "max_position_embeddings": target.maxPositions, "attention_bias": false, "tie_word_embeddings": false,
      "layer_types": [String](repeating: "full_attention", count: layers),
    ]
    values["rope_scaling"] = ropeScaling?.configValues
    return values
  }

  package static func reader(folder path: String, target: TargetModel) throws -> any HeadReader {
    try BlockFolderReader(path, target: target)
  }

  package static func summary(folder path: String) throws -> String {
    let config = try BlockConfig(folder: path)
    let rank = try config.file.countIfPresent("markov_rank") ?? 0
    return "\(config.kind == .dspark ? "DSpark" : "DFlash") block drafter in the layout \(config.layout.rawValue): "
      + "hidden_size \(try config.file.integer("hidden_size")), \(try config.file.integer("num_hidden_layers")) layers, "
      + "block of \(try config.file.integerIfPresent("block_size") ?? 0), Markov rank \(rank)"
  }
}

/// The folder of a block drafter, checked against its target.
private struct BlockFolderReader: HeadReader {
  var shape: any DraftShape { sizes }
  private let sizes: BlockShape
  private let path: String
  private let folder: SafetensorsFolder
  private let reader: WeightReader

  init(_ path: String, target: TargetModel) throws {
    self.path = path
    folder = try SafetensorsFolder(path: path)
    reader = WeightReader(folder)
    if FileTree.isFile("\(path)/mask_embedding.pt") {
      throw LocatedError(
        path: path, problem: "has a mask token's embedding of its own (mask_embedding.pt), which is not computed here",
        advice: "use a head whose mask token is a row of the target's embedding")
    }
    let config = try BlockConfig(folder: path)
    var shape = try config.shape(target.shape, tensors: Set(folder.names))
    if shape.lmHead == .own {
      let ids = try HeadVocabulary.read(folder, draftSize: shape.draftVocabularySize, targetSize: shape.vocabularySize)
      let table = try reader.matrix(BlockTensors.lmHead, [shape.draftVocabularySize, shape.hiddenSize])
      let rows = ids.isWhole ? target.head : Rows.select(target.head, ids.targetIDs)
      if !config.file.flag(HeadEmbedding.headKey), HeadEmbedding.isCopy(table, of: rows) { shape.lmHead = .target }
    }
    let embedding = "embed_tokens.weight"
    if folder.contains(embedding) {
      let table = try reader.matrix(embedding, [shape.vocabularySize, shape.hiddenSize])
      guard HeadEmbedding.isCopy(table, of: target.embedding) else {
        throw LocatedError(
          path: path,
          problem: "`\(embedding)` is not the target's: this program does not compute a block drafter's own",
          advice: "name the target that the head was trained for")
      }
    }
    sizes = shape
    try refuseUnknownTensors(embedding)
  }

  func tensors() throws -> [String: Tensor] {
    var tensors: [String: Tensor] = [:]
    for (name, size) in sizes.tensorShapes {
      tensors[name] = size.count == 1 ? try reader.vector(name, size[0]) : try reader.matrix(name, size)
    }
    try reader.refuseNonFinite()
    return tensors
  }

  func vocabulary() throws -> DraftVocabulary {
    try HeadVocabulary.read(folder, draftSize: sizes.draftVocabularySize, targetSize: sizes.vocabularySize)
  }

  private func refuseUnknownTensors(_ embedding: String) throws {
    let known = Set(
      sizes.tensorShapes.map(\.name) + [
        "d2t", "t2d", embedding, BlockTensors.lmHead, "verifier_norm.weight",
        "verifier_lm_head.weight", "rotary_emb.inv_freq",
      ])
    guard let unknown = folder.names.first(where: { !known.contains($0) }) else { return }
    throw LocatedError(
      path: path, problem: "holds the tensor `\(unknown)`, which its config does not ask for",
      advice: "use a head with the tensors that docs/guide/other-servers.md lists")
  }
}
