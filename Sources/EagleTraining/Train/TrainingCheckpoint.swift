import EagleModels
import EagleStorage
import EagleTensor
import Foundation

/// A checkpoint's content: master weights and both moments, float32, and where the run stands.
public struct TrainingCheckpoint {
  /// `info.json` of a checkpoint.
  public struct Info: Codable, Sendable, Equatable {
    public var step: Int
    /// What must not change between the parts of one run.
    public var runFingerprint: String
    public var targetPath: String
    public var targetFingerprint: String
    public var draftShape: DraftShape
    public var draftVocabulary: [Int32]

    enum CodingKeys: String, CodingKey {
      case step
      case runFingerprint = "run_fingerprint"
      case targetPath = "target_path"
      case targetFingerprint = "target_fingerprint"
      case draftShape = "draft_shape"
      case draftVocabulary = "draft_vocabulary"
    }
  }

  private static let file = "state.safetensors"

  static func write(_ optimizer: AdamW, _ info: Info, parent: String) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    let data = try encoder.encode(info)
    try CheckpointFolder.write(parent: parent, name: CheckpointFolder.name(step: info.step), info: data) { folder in
      try SafetensorsWriter.write(path: "\(folder)/\(file)", tensors: tensors(of: optimizer))
    }
  }

  /// Fills the optimiser with what the checkpoint holds.
  static func load(_ checkpoint: Checkpoint, into optimizer: AdamW) throws {
    let source = try SafetensorsFile(path: checkpoint.path(of: file))
    for (name, tensor) in tensors(of: optimizer) {
      let stored = try source.tensor(name)
      guard stored.shape == tensor.shape, stored.dtype == .float32 else {
        throw TrainingError(
          path: checkpoint.path, problem: "`\(name)` has shape \(stored.shape), and this run's draft \(tensor.shape)",
          advice: "resume with the recipe that the checkpoint was made with")
      }
      Elementwise.copy(stored, into: tensor)
    }
    optimizer.weightsHaveChanged()
  }

  /// The draft head of a checkpoint, for export.
  public static func draft(_ checkpoint: Checkpoint, target: TargetShape) throws -> DraftModel {
    let info = try info(checkpoint)
    let vocabulary = try DraftVocabulary(
      checking: info.draftVocabulary, targetSize: target.vocabularySize, path: checkpoint.path)
    let shape = info.draftShape
    let source = try SafetensorsFile(path: checkpoint.path(of: file))
    var tensors: [String: Tensor] = [:]
    for (name, expected) in DraftModel.tensorShapes(shape) {
      let tensor = try source.tensor(name)
      guard tensor.shape == expected else {
        throw TrainingError(
          path: checkpoint.path, problem: "`\(name)` has shape \(tensor.shape) in place of \(expected)")
      }
      tensors[name] = tensor
    }
    return DraftModel(shape: shape, vocabulary: vocabulary, tensors: tensors, trainable: false)
  }

  /// What the checkpoint belongs to; throws when it is damaged.
  public static func info(_ checkpoint: Checkpoint) throws -> Info {
    guard let info = try? JSONDecoder().decode(Info.self, from: checkpoint.info) else {
      throw TrainingError(path: checkpoint.path, problem: "is no training checkpoint", advice: "name a step folder")
    }
    return info
  }

  /// Weights under their exported names, moments under these with a prefix.
  private static func tensors(of optimizer: AdamW) -> [(name: String, tensor: Tensor)] {
    var result: [(name: String, tensor: Tensor)] = []
    for (prefix, flat) in [
      ("", optimizer.weights), ("adam.m.", optimizer.firstMoment), ("adam.v.", optimizer.secondMoment),
    ] {
      var at = 0
      for parameter in optimizer.draft.parameters {
        let count = parameter.variable.value.count
        result.append((prefix + parameter.name, flat.slice(at..<at + count).reshaped(parameter.variable.shape)))
        at += count
      }
    }
    return result
  }
}
