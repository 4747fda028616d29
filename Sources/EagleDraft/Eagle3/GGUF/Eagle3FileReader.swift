import EagleCore
import EagleModels
import EagleStorage
import EagleTensor

/// The GGUF file of a head, checked against its target.
struct Eagle3FileReader: HeadReader {
  var shape: any DraftShape { sizes }
  private let sizes: Eagle3Shape
  private let file: GGUFFile

  init(_ file: GGUFFile, target: TargetModel) throws {
    self.file = file
    var shape = try Eagle3Shape(gguf: try HeadKeys(file), target: target.shape)
    if file.contains(tensor: HeadNames.embedding) {
      let table = try Self.tensor(HeadNames.embedding, [shape.vocabularySize, shape.hiddenSize], of: file)
      // Files that other programs wrote do not have this key.
      let isOwn = try HeadKeys(file).flag(HeadEmbedding.key)
      if isOwn || !HeadEmbedding.isCopy(table, of: target.embedding) { shape.variant.embedding = .own }
    }
    try HeadEmbedding.requireTable(shape, path: file.path)
    sizes = shape
    try refuseUnknownTensors()
  }

  /// The tensors as stored and mapped, except q and k, which are copies, and the norms, which are float32.
  func tensors() throws -> [String: Tensor] {
    var tensors: [String: Tensor] = [:]
    for (name, size) in sizes.tensorShapes {
      let stored = try Self.tensor(HeadNames.tensors[name]!, size, of: file)
      try refuseNonFinite(stored, HeadNames.tensors[name]!)
      let heads = HeadNames.permutedHeads(name, sizes)
      tensors[name] = size.count == 1 ? stored.float32() : heads.map { RowOrder.halfSplit(stored, heads: $0) } ?? stored
    }
    return tensors
  }

  /// A head over the whole vocabulary may leave its ids out.
  func vocabulary() throws -> DraftVocabulary {
    let targetSize = sizes.vocabularySize
    guard file.contains(tensor: HeadNames.targetIDs) else {
      return DraftVocabulary(targetIDs: (0..<Int32(targetSize)).map { $0 }, targetSize: targetSize)
    }
    let info = try file.info(HeadNames.targetIDs)
    guard info.type == .int64, info.shape.count == 1 else {
      throw LocatedError(
        path: file.path, problem: "`\(info.name)` is \(info.type) \(info.shape), and must be int64 in one dimension",
        advice: "export the head again")
    }
    let ids = try file.stored(info.name).buffer(Int64.self).map { Int32(clamping: $0) }
    return try DraftVocabulary(checking: ids, targetSize: targetSize, path: file.path)
  }

  private static func tensor(_ name: String, _ size: [Int], of file: GGUFFile) throws -> Tensor {
    let info = try file.info(name)
    guard info.shape == size, info.type.weightType != nil else {
      throw LocatedError(
        path: file.path, problem: "`\(name)` is \(info.type.ggmlName) \(info.shape), the metadata asks for \(size)",
        advice: "the file is damaged: copy or export it again")
    }
    return try file.stored(name)
  }

  /// The number of elements that are checked at a time: whole blocks.
  private static let chunk = 1 << 16

  private func refuseNonFinite(_ tensor: Tensor, _ name: String) throws {
    var found = NonFinite()
    try withUnsafeTemporaryAllocation(of: Float.self, capacity: Self.chunk) { wide in
      for first in stride(from: 0, to: tensor.count, by: Self.chunk) {
        let count = min(Self.chunk, tensor.count - first)
        try file.decode(name, elements: first..<first + count, to: wide.baseAddress)
        found.add(
          NonFinite(
            in: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(wide)[..<(4 * count)]), dtype: .float32),
          at: first)
      }
    }
    guard let index = found.first else { return }
    throw LocatedError(
      path: file.path,
      problem:
        "`\(name)` holds \(Format.count(found.count, "non-finite value")), the first at index \(index)",
      advice: "the file is damaged, or was made from a training that diverged: copy or export it again")
  }

  /// Throws for a tensor that is not used here: ignoring it would change what the head computes.
  private func refuseUnknownTensors() throws {
    let known =
      sizes.tensorShapes.map { HeadNames.tensors[$0.name]! }
      + [HeadNames.targetIDs, HeadNames.embedding, HeadNames.rotaryFactors]
    guard let unknown = file.tensors.first(where: { !known.contains($0.name) }) else { return }
    throw LocatedError(
      path: file.path,
      problem: "holds the tensor `\(unknown.name)`, which its metadata does not ask for",
      advice: "use a head with the tensors that eagle-train exports")
  }
}
