import EagleCore
import EagleModels
import EagleStorage
import EagleTensor
import Foundation

extension DraftFolder {
  /// Reads a head for `target` from a folder or a `.gguf` file, written here or by another tool. The layer may be
  /// called `midlayer` or `layers.0`, and a copy of the target's embedding may be there too. Weights stay as stored;
  /// `trainable` widens them to float32, quantised ones too.
  ///
  /// - Throws: `LocatedError` when the head does not fit the target, or holds a tensor that nothing here computes with,
  ///   or a weight that is NaN or infinite
  public static func read(_ path: String, target: TargetModel, trainable: Bool = false) throws -> DraftModel {
    let reader = try reader(path, target: target)
    // Tensors first: a head without a draft vocabulary whose LM head has one is rejected for the size of the LM head.
    let tensors = try reader.tensors()
    let head = DraftModel(
      shape: reader.shape, vocabulary: try reader.vocabulary(), tensors: tensors, trainable: false)
    return trainable ? head.trainable() : head
  }

  /// The draft vocabulary alone.
  package static func vocabulary(_ path: String, target: TargetModel) throws -> DraftVocabulary {
    try reader(path, target: target).vocabulary()
  }

  private static func reader(_ path: String, target: TargetModel) throws -> any HeadReader {
    if DraftGGUF.isFile(path) {
      let file = try GGUFFile(path: path)
      return try DraftArchitecture.ofFile(file).reader(file: file, target: target)
    }
    try ModelSource.refuseFolderOfGGUF(path)
    return try DraftArchitecture.ofFolder(path).reader(folder: path, target: target)
  }

  /// A digest that identifies a head and does not depend on its path.
  package static func fingerprint(_ path: String) throws -> String {
    DraftGGUF.isFile(path) ? try GGUFFile(path: path).fingerprint() : try SafetensorsFolder.fingerprint(folder: path)
  }
}

/// A stored head, checked against its target.
package protocol HeadReader {
  var shape: any DraftShape { get }
  /// The tensors of the shape's `tensorShapes`, norms float32.
  func tensors() throws -> [String: Tensor]
  func vocabulary() throws -> DraftVocabulary
}

/// The contents of a head's folder except the values of its tensors.
package struct HeadFolder {
  /// `config.json`.
  package var config: Data
  /// The name in the folder of each of the head's tensors.
  package var tensorName: (String) -> String
  /// The name in the folder of the rows of the target's LM head for the draft vocabulary, where readers need them.
  package var headRows: String?
  /// The name in the folder of the target's embedding, where readers need it.
  package var embedding: String?
}
