import EagleCore
import EagleModels
import EagleStorage
import EagleTensor

extension Eagle3Shape {
  package static var ggufArchitecture: String { HeadNames.architecture }

  package func file(target: TargetShape, type: DraftGGUF.MatrixType, path: String) throws -> HeadFile {
    try refuseVariants(path)
    let rotary = try HeadRotary(self, path: path)
    return HeadFile(
      architecture: HeadNames.architecture, fields: fields(target) + rotary.fields, tensors: rotary.tensors,
      tensorName: { HeadNames.tensors[$0]! },
      rows: { name, tensor in
        HeadNames.permutedHeads(name, self).map { RowOrder.interleaved(tensor, heads: $0) } ?? tensor
      })
  }

  private func fields(_ target: TargetShape) -> [GGUFField] {
    func key(_ name: String) -> String { "\(HeadNames.architecture).\(name)" }
    let sizes: [(String, Int)] = [
      ("block_count", layers), ("context_length", target.statedPositions(head: maxPositions, ropeScaling)),
      ("embedding_length", hiddenSize),
      ("feed_forward_length", intermediateSize), ("vocab_size", vocabularySize),
      ("target_hidden_size", target.hiddenSize), ("attention.head_count", attention.heads),
      ("attention.head_count_kv", attention.kvHeads), ("attention.key_length", attention.headDimension),
      ("attention.value_length", attention.headDimension),
      ("rope.dimension_count", attention.headDimension),
    ]
    return sizes.map { .uint32(key($0.0), $0.1) } + [
      .float32(key("attention.layer_norm_rms_epsilon"), normEpsilon),
      .float32(key("rope.freq_base"), Float(ropeTheta)),
      // llama.cpp names layers by their inputs: the input of layer i + 1 is the output of layer i.
      .int32s(key("target_layers"), captureLayers.map { Int32($0 + 1) }),
      .bool(key("norm_before_residual"), variant.normsResidual),
      .bool(key("norm_before_fc"), variant.featureNorm == .joint),
    ] + (variant.embedding == .own ? [.bool(key(HeadEmbedding.key), true)] : [])
  }

  /// Throws, by name, for what llama.cpp does not compute.
  private func refuseVariants(_ path: String) throws {
    let unknown: [(Bool, String)] = [
      (variant.featureNorm == .perState, "fc_norm"), (variant.feedsNormedState, "norm_output"),
      (variant.normsQueryKey, "norms of q and k (qk_norm)"), (variant.window != nil, "a sliding window"),
      (layers > 1, "\(layers) layers"),
      (captureLayers.count != 3, "\(captureLayers.count) captured layers in place of three"),
    ]
    guard let first = unknown.first(where: { $0.0 }) else { return }
    throw LocatedError(
      path: path, problem: "the head has \(first.1), which llama.cpp does not compute and a GGUF file cannot say",
      advice: "export it as a folder")
  }

  /// What a head's file is, in one line.
  ///
  /// - Throws: `LocatedError` for a head whose metadata lacks a key
  package static func summary(file: GGUFFile) throws -> String {
    let keys = try HeadKeys(file)
    let vocabulary = try keys.size("vocab_size")
    let ids = file.contains(tensor: HeadNames.targetIDs) ? try file.info(HeadNames.targetIDs).count : vocabulary
    let layers = try file.ints(keys.name("target_layers")).map { $0 &- 1 }
    let known = HeadNames.tensors.values
    let types = Set(file.tensors.filter { known.contains($0.name) && $0.shape.count == 2 }.map(\.type))
    return "EAGLE-3 draft head: layers \(layers), hidden_size \(try keys.size("embedding_length")), draft vocabulary "
      + "\(ids) of \(vocabulary), matrices \(types.map(\.ggmlName).sorted().joined(separator: ", "))"
  }
}

extension Eagle3Shape {
  /// Reads and checks the metadata of a head for `target`.
  ///
  /// - Throws: `LocatedError` for a head of another target, a missing key, and by name for what is not computed
  init(gguf keys: HeadKeys, target: TargetShape) throws {
    try keys.refuseUnknown()
    guard try keys.size("block_count") == 1 else { throw keys.wrong("block_count", "must be 1") }
    let hidden = try keys.size("embedding_length")
    try Self.check(keys, target)
    let file = keys.file
    let draftSize =
      file.contains(tensor: HeadNames.targetIDs)
      ? try file.info(HeadNames.targetIDs).count : target.vocabularySize
    let positions = try keys.sizeIfPresent("context_length") ?? target.maxPositions
    self.init(
      hiddenSize: hidden, attention: try Self.attention(keys, hidden: hidden),
      intermediateSize: try keys.size("feed_forward_length"), vocabularySize: target.vocabularySize,
      draftVocabularySize: draftSize, normEpsilon: Float(try keys.number("attention.layer_norm_rms_epsilon")),
      ropeTheta: keys.contains("rope.freq_base") ? Self.shortest(try keys.number("rope.freq_base")) : 10000,
      maxPositions: positions, captureLayers: try Self.layers(keys, target))
    guard ropeTheta > 0 else { throw keys.wrong("rope.freq_base", "must be above 0") }
    variant.featureNorm = try keys.flag("norm_before_fc") ? .joint : .none
    variant.normsResidual = try keys.flag("norm_before_residual")
    variant.lmHead = draftSize == target.vocabularySize && !file.contains(tensor: HeadNames.lmHead) ? .target : .own
    if hidden != target.hiddenSize { variant.targetHiddenSize = target.hiddenSize }
    ropeScaling = try HeadRotary.scaling(of: keys, headDimension: attention.headDimension, positions: positions)
  }

  private static func check(_ keys: HeadKeys, _ target: TargetShape) throws {
    let (width, vocabulary) = (try keys.size("target_hidden_size"), try keys.size("vocab_size"))
    guard width == target.hiddenSize, vocabulary == target.vocabularySize else {
      throw LocatedError(
        path: keys.file.path,
        problem: "this head is for another target: `\(keys.name("target_hidden_size"))` is \(width) and "
          + "`\(keys.name("vocab_size"))` \(vocabulary)",
        advice: "the target has hidden_size \(target.hiddenSize) and vocab_size \(target.vocabularySize)")
    }
  }

  private static func attention(_ keys: HeadKeys, hidden: Int) throws -> AttentionShape {
    let heads = try keys.size("attention.head_count")
    let kvHeads = try keys.sizeIfPresent("attention.head_count_kv") ?? heads
    let dimension = try keys.sizeIfPresent("attention.key_length") ?? hidden / heads
    guard heads % kvHeads == 0 else {
      throw keys.wrong("attention.head_count", "\(heads) heads cannot share \(kvHeads) key-value heads")
    }
    guard dimension > 0, dimension % 2 == 0, dimension <= 4096 else {
      throw keys.wrong("attention.key_length", "must be even, above 0 and at most 4096")
    }
    for key in ["attention.value_length", "rope.dimension_count"] {
      guard try keys.sizeIfPresent(key) ?? dimension == dimension else {
        throw keys.refuse(key, "another size than the head dimension \(dimension)")
      }
    }
    return AttentionShape(heads: heads, kvHeads: kvHeads, headDimension: dimension)
  }

  /// The layers whose outputs the head reads, 0-based: the file has the layers whose inputs these outputs are.
  private static func layers(_ keys: HeadKeys, _ target: TargetShape) throws -> [Int] {
    let inputs = try keys.file.ints(keys.name("target_layers"))
    let layers = inputs.map { $0 &- 1 }
    try target.validate(captureLayers: layers, path: keys.file.path)
    return layers
  }

  /// The float32's own shortest decimals.
  private static func shortest(_ value: Double) -> Double { Double("\(Float(value))") ?? value }
}
