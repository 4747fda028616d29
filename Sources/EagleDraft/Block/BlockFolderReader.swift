import EagleCore
import EagleModels
import EagleStorage
import EagleTensor

extension BlockShape {
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
    let embedding = BlockTensors.embedding
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
