import EagleCore
import EagleStorage
import EagleTensor

extension DraftFolder {
  /// Reads a head for `target`, a folder or a `.gguf` file, written here or by another tool: the layer may be called
  /// `midlayer` or `layers.0`, and a copy of the target's embedding may lie beside it. Weights stay as stored;
  /// `trainable` widens them to float32.
  ///
  /// - Throws: `LocatedError` when the head does not fit the target, or holds a tensor that nothing here computes with,
  ///   or a weight that is NaN or infinite, or is to be trained and quantised
  public static func read(_ path: String, target: TargetModel, trainable: Bool = false) throws -> DraftModel {
    let reader = try reader(path, target: target)
    var tensors = try reader.tensors()
    if trainable {
      try requireFloats(tensors, path)
      tensors = tensors.mapValues { writableCopy($0.float32()) }
    }
    return DraftModel(shape: reader.shape, vocabulary: try reader.vocabulary(), tensors: tensors, trainable: trainable)
  }

  /// The draft vocabulary alone.
  package static func vocabulary(_ path: String, target: TargetModel) throws -> DraftVocabulary {
    try reader(path, target: target).vocabulary()
  }

  private static func reader(_ path: String, target: TargetModel) throws -> any HeadReader {
    if DraftGGUF.isFile(path) { return try GGUFHeadReader(path, target: target) }
    try ModelSource.refuseFolderOfGGUF(path)
    return try FolderHeadReader(path, target: target)
  }

  /// Throws where blocks would be widened to be trained: their errors of quantisation would be what training starts from.
  package static func requireFloats(_ tensors: [String: Tensor], _ path: String) throws {
    let quantized = tensors.filter { $0.value.dtype.isBlocks }.min { $0.key < $1.key }
    guard let quantized else { return }
    throw LocatedError(
      path: path, problem: "its weights are quantised (\(quantized.value.dtype.ggmlName)), and training needs floats",
      advice: "start from the head's folder, or from a .gguf file of the type bf16")
  }

  /// The optimiser writes to its parameters; a mapped file cannot be written to.
  private static func writableCopy(_ tensor: Tensor) -> Tensor {
    let copy = Tensor(tensor.shape)
    Elementwise.copy(tensor, into: copy)
    return copy
  }
}

/// A stored head, checked against its target.
protocol HeadReader {
  var shape: DraftShape { get }
  /// The tensors of `DraftModel.tensorShapes`, norms float32.
  func tensors() throws -> [String: Tensor]
  func vocabulary() throws -> DraftVocabulary
}

/// The folder of a head, checked against its target.
private struct FolderHeadReader: HeadReader {
  let shape: DraftShape
  private let path: String
  private let folder: SafetensorsFolder
  private let reader: WeightReader
  private let layer: String

  /// Tensors without new information, as they follow from the config.
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
    if folder.contains(DraftTensors.embedding) {
      let table = try reader.matrix(DraftTensors.embedding, [shape.vocabularySize, shape.hiddenSize])
      if shape.variant.embedding == .target, !HeadEmbedding.isCopy(table, of: target) { shape.variant.embedding = .own }
    }
    try HeadEmbedding.requireTable(shape, path: path)
    self.shape = shape
    try refuseUnknownTensors()
  }

  func tensors() throws -> [String: Tensor] {
    var tensors: [String: Tensor] = [:]
    for (name, size) in DraftModel.tensorShapes(shape) {
      let stored = storedName(name)
      tensors[name] = size.count == 1 ? try reader.vector(stored, size[0]) : try reader.matrix(stored, size)
    }
    try reader.refuseNonFinite()
    return tensors
  }

  /// `d2t` holds offsets: draft id i is target id `i + d2t[i]`. A head over the whole vocabulary may leave it out.
  func vocabulary() throws -> DraftVocabulary {
    let (draftSize, targetSize) = (shape.draftVocabularySize, shape.vocabularySize)
    if draftSize == targetSize, !folder.contains("d2t") {
      return DraftVocabulary(targetIDs: (0..<Int32(targetSize)).map { $0 }, targetSize: targetSize)
    }
    let ids = try offsets(draftSize).enumerated().map { Int32(clamping: Int64($0.offset) &+ $0.element) }
    let vocabulary = try DraftVocabulary(checking: ids, targetSize: targetSize, path: path)
    try checkMembers(vocabulary)
    return vocabulary
  }

  private func offsets(_ draftSize: Int) throws -> [Int64] {
    let tensor = try folder.tensor("d2t")
    if tensor.shape == [draftSize] {
      if tensor.dtype == .int64 { return Array(tensor.buffer(Int64.self)) }
      if tensor.dtype == .int32 { return tensor.buffer(Int32.self).map(Int64.init) }
    }
    throw LocatedError(
      path: path, problem: "`d2t` is \(tensor.dtype) \(tensor.shape), and must be int64 or int32 [\(draftSize)]",
      advice: "check that config.json and the weights belong together")
  }

  private func storedName(_ name: String) -> String {
    name.hasPrefix("midlayer.") ? layer + name.dropFirst("midlayer".count) : name
  }

  /// Throws for a tensor that is not used here: it would change what the head means.
  private func refuseUnknownTensors() throws {
    let known = Set(
      DraftModel.tensorShapes(shape).map { storedName($0.name) } + ["d2t", "t2d", DraftTensors.embedding])
    let unknown = folder.names.first { name in
      !known.contains(name) && !Self.derived.contains(where: name.hasSuffix)
    }
    if let unknown {
      let variant = Self.variants.first { unknown.contains($0.part) }.map { " (\($0.variant))" } ?? ""
      throw LocatedError(
        path: path,
        problem: "holds the tensor `\(unknown)`\(variant), which its config.json does not ask for",
        advice: "use a head whose config.json names what it has (docs/eagle3.md)")
    }
  }

  /// Name parts of the tensors that variants of the head have.
  private static let variants: [(part: String, variant: String)] = [
    ("k_norm.", "norms of q and k"), ("fc_norm.", "`fc_norm`"),
    ("input_norm.", "`norm_before_fc`"), ("output_norm.", "`norm_before_fc`"), (".bias", "biases"),
    ("layers.1.", "several layers"), ("mask_hidden", "drafting several tokens in one pass"), ("experts.", "experts"),
  ]

  /// Throws unless `t2d`, where there is one, marks the ids of `d2t`. It does not where `d2t` holds ids instead of
  /// offsets.
  private func checkMembers(_ vocabulary: DraftVocabulary) throws {
    guard folder.contains("t2d") else { return }
    let tensor = try folder.tensor("t2d")
    guard [.bool, .uint8].contains(tensor.dtype), tensor.shape == [shape.vocabularySize] else {
      throw LocatedError(
        path: path,
        problem: "`t2d` is \(tensor.dtype) \(tensor.shape), and must be bool or uint8 [\(shape.vocabularySize)]",
        advice: "check that config.json and the weights belong together")
    }
    guard
      zip(tensor.buffer(UInt8.self), vocabulary.draftIDs).allSatisfy({ ($0 != 0) == ($1 >= 0) })
    else {
      throw LocatedError(
        path: path, problem: "`t2d` does not mark the tokens of `d2t`",
        advice: "d2t[i] must be the target id of draft id i, minus i")
    }
  }
}
