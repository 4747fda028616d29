import EagleStorage
import EagleTensor
import Foundation

/// Reads and writes draft heads as Hugging Face folders: `config.json` and `model.safetensors`.
public enum DraftFolder {
  /// Writes the head with bfloat16 weights, `d2t` and `t2d`, whole or not at all.
  ///
  /// - Parameter target: gives the special token ids of the config
  public static func write(_ model: DraftModel, target: TargetShape, to path: String) throws {
    let rounded = model.rounded()
    var tensors = rounded.parameters.map { (name: $0.name, tensor: $0.variable.value.bfloat16()) }
    tensors.append((name: "d2t", tensor: model.vocabulary.d2t))
    tensors.append((name: "t2d", tensor: model.vocabulary.t2d))
    let config = try DraftConfigFile(model.shape, target: target).json()
    try AtomicFolder.write(path: path, replacing: true) { folder in
      try AtomicFile.write(path: "\(folder)/config.json", data: config)
      try SafetensorsWriter.write(path: "\(folder)/model.safetensors", tensors: tensors, metadata: ["format": "pt"])
    }
  }

  /// Reads a head for `target`. Weights stay as stored; `trainable` widens them to float32.
  ///
  /// - Throws: `ModelError` when the head does not fit the target
  public static func read(_ path: String, target: TargetShape, trainable: Bool = false) throws -> DraftModel {
    let shape = try DraftConfigFile.shape(folder: path, target: target)
    let reader = WeightReader(folder: try SafetensorsFolder(path: path))
    try refuseUnknownTensors(reader.folder, shape)
    let vocabulary = try vocabulary(reader, shape, path)
    var tensors: [String: Tensor] = [:]
    for (name, size) in DraftModel.tensorShapes(shape) {
      let tensor = size.count == 1 ? try reader.vector(name, size[0]) : try reader.matrix(name, size)
      tensors[name] = trainable ? tensor.float32() : tensor
    }
    if trainable { tensors = tensors.mapValues(writableCopy) }
    return DraftModel(shape: shape, vocabulary: vocabulary, tensors: tensors, trainable: trainable)
  }

  /// A tensor that nothing here multiplies by would change what the head means.
  private static func refuseUnknownTensors(_ folder: SafetensorsFolder, _ shape: DraftShape) throws {
    let known = Set(DraftModel.tensorShapes(shape).map(\.name) + ["d2t", "t2d"])
    if let odd = folder.names.first(where: { !known.contains($0) }) {
      throw ModelError(
        path: folder.path, problem: "holds the tensor `\(odd)`, which an EAGLE-3 head of this program does not have",
        advice: "use a head with the tensors that eagle-train exports")
    }
  }

  /// The optimiser writes to its parameters; a mapped file cannot be written to.
  private static func writableCopy(_ tensor: Tensor) -> Tensor {
    let copy = Tensor(tensor.shape)
    Elementwise.copy(tensor, into: copy)
    return copy
  }

  private static func vocabulary(_ reader: WeightReader, _ shape: DraftShape, _ path: String) throws -> DraftVocabulary
  {
    let tensor = try reader.folder.tensor("d2t")
    guard tensor.dtype == .int64, tensor.shape == [shape.draftVocabularySize] else {
      throw ModelError(
        path: path,
        problem: "`d2t` is \(tensor.dtype) \(tensor.shape), and must be int64 [\(shape.draftVocabularySize)]")
    }
    let ids = tensor.buffer(Int64.self).enumerated().map { Int32(clamping: Int64($0.offset) &+ $0.element) }
    return try DraftVocabulary(checking: ids, targetSize: shape.vocabularySize, path: path)
  }
}
