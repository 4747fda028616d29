import EagleCore
import EagleModels
import EagleStorage
import EagleTensor

/// The folder of a head, checked against its target.
struct Eagle3FolderReader: HeadReader {
  var shape: any DraftShape { sizes }
  private let sizes: Eagle3Shape
  private let path: String
  private let folder: SafetensorsFolder
  private let reader: WeightReader
  /// The name of the first layer.
  private let layer: String

  /// Tensors that follow from the config.
  private static let derived = ["rotary_emb.inv_freq"]

  init(_ path: String, target: TargetModel) throws {
    self.path = path
    folder = try SafetensorsFolder(path: path)
    reader = WeightReader(folder)
    layer = folder.contains("layers.0.hidden_norm.weight") ? "layers.0" : "midlayer"
    let prefix = "\(layer)."
    var shape = try DraftConfigFile.shape(
      folder: path, target: target.shape,
      tensors: Set(folder.names.map { $0.hasPrefix(prefix) ? String($0.dropFirst(prefix.count)) : $0 }))
    if folder.contains(Eagle3Tensors.embedding) {
      let table = try reader.matrix(Eagle3Tensors.embedding, [shape.vocabularySize, shape.hiddenSize])
      if shape.variant.embedding == .target, !HeadEmbedding.isCopy(table, of: target.embedding) {
        shape.variant.embedding = .own
      }
    }
    try HeadEmbedding.requireTable(shape, path: path)
    sizes = shape
    try refuseUnknownTensors()
  }

  func tensors() throws -> [String: Tensor] {
    var tensors: [String: Tensor] = [:]
    for (name, size) in sizes.tensorShapes {
      let stored = storedName(name)
      tensors[name] = size.count == 1 ? try reader.vector(stored, size[0]) : try reader.matrix(stored, size)
    }
    try reader.refuseNonFinite()
    return tensors
  }

  func vocabulary() throws -> DraftVocabulary {
    try HeadVocabulary.read(folder, draftSize: sizes.draftVocabularySize, targetSize: sizes.vocabularySize)
  }

  private func storedName(_ name: String) -> String {
    name.hasPrefix("midlayer.") ? layer + name.dropFirst("midlayer".count) : name
  }

  /// Throws for a tensor that is not used here: ignoring it would change what the head computes.
  private func refuseUnknownTensors() throws {
    let known = Set(
      sizes.tensorShapes.map { storedName($0.name) } + ["d2t", "t2d", Eagle3Tensors.embedding])
    let unknown = folder.names.first { name in
      !known.contains(name) && !Self.derived.contains(where: name.hasSuffix)
    }
    if let unknown {
      let variant = Self.variants.first { unknown.contains($0.part) }.map { " (\($0.variant))" } ?? ""
      throw LocatedError(
        path: path,
        problem: "holds the tensor `\(unknown)`\(variant), which its config.json does not ask for",
        advice: "use a head whose config.json names what it has (docs/guide/eagle3.md)")
    }
  }

  /// Name parts of the tensors that variants of the head have.
  private static let variants: [(part: String, variant: String)] = [
    ("k_norm.", "norms of q and k"), ("fc_norm.", "`fc_norm`"),
    ("input_norm.", "`norm_before_fc`"), ("output_norm.", "`norm_before_fc`"), (".bias", "biases"),
    ("mask_hidden", "drafting several tokens in one pass"), ("experts.", "experts"),
  ]
}
