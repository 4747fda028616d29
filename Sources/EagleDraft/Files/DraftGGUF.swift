import EagleCore
import EagleModels
import EagleStorage
import EagleTensor
import Foundation

/// Writes draft heads as GGUF files, which llama.cpp loads with a target (`--spec-type draft-eagle3`).
package enum DraftGGUF {
  /// The type of the matrices in a file.
  package enum MatrixType: String, Sendable, CaseIterable {
    case bf16, q8_0, q4_0

    var dtype: DType {
      switch self {
      case .bf16: .bfloat16
      case .q8_0: .q8_0
      case .q4_0: .q4_0
      }
    }

    /// llama.cpp's number for a file whose matrices are mostly of this type.
    var fileType: Int {
      switch self {
      case .bf16: 32
      case .q8_0: 7
      case .q4_0: 2
      }
    }
  }

  /// Whether a path names a head's file and no folder.
  package static func isFile(_ path: String) -> Bool { path.hasSuffix(".gguf") && !FileTree.isFolder(path) }

  /// Writes the head, whole or not at all: matrices rounded to bfloat16 as in a folder and then perhaps quantised,
  /// norms float32.
  ///
  /// - Parameters:
  ///   - tokenizer: the fields `tokenizer.*` of the target
  ///   - type: the type of the matrices
  ///   - tables: of the target, for a head that shares its LM head and has a draft vocabulary
  /// - Returns: the names of the matrices that stayed bfloat16, because their rows are no whole blocks
  /// - Throws: `LocatedError` for a head that a file cannot describe, and a path that holds something else
  @discardableResult
  package static func write(
    _ model: DraftModel, target: TargetShape, tokenizer: [GGUFField], type: MatrixType,
    tables: TargetTables? = nil, to path: String
  ) throws -> [String] {
    try requireReplaceable(path)
    let file = try model.shape.file(target: target, type: type, path: path)
    var tensors: [(name: String, tensor: Tensor)] = model.rounded().parameters.map { parameter in
      (file.tensorName(parameter.name), file.rows(parameter.name, inType(parameter.variable.value, type)))
    }
    if let name = file.headRows {
      guard let rows = tables?.lmHead else { preconditionFailure("\(name) of the target is not given") }
      tensors.append((name, inType(rows.value.float32().bfloat16(), type)))
    }
    let wide =
      type == .bf16
      ? [] : tensors.filter { $0.tensor.dtype == .bfloat16 && DraftModel.isQuantized($0.tensor) }.map(\.name)
    tensors += file.tensors
    if !model.vocabulary.isWhole { tensors.append(("d2t", targetIDs(model.vocabulary))) }
    let general: [GGUFField] = [
      .string("general.architecture", file.architecture), .string("general.type", "model"),
      .uint32("general.file_type", type.fileType), .uint32("general.quantization_version", 2),
    ]
    // A target may have a mask token of its own.
    let own = Set(file.tokenizer.map(\.key))
    try GGUFWriter.write(
      path: path, fields: general + file.fields + tokenizer.filter { !own.contains($0.key) } + file.tokenizer,
      tensors: tensors)
    return wide
  }

  /// A matrix in blocks, if its rows are whole blocks; norms and single rows stay as they are.
  private static func inType(_ value: Tensor, _ type: MatrixType) -> Tensor {
    guard DraftModel.isQuantized(value), type != .bf16, value.columns % type.dtype.blockLength == 0 else {
      return value
    }
    return value.quantized(type.dtype)
  }

  private static func targetIDs(_ vocabulary: DraftVocabulary) -> Tensor {
    let tensor = Tensor([vocabulary.size], dtype: .int64)
    _ = tensor.buffer(Int64.self).initialize(from: vocabulary.targetIDs.map(Int64.init))
    return tensor
  }

  /// What a head's file is, in one line; nil for a file that is no head.
  ///
  /// - Throws: `LocatedError` for a head whose metadata lacks a key
  package static func summary(_ file: GGUFFile) throws -> String? {
    try isHead(file) ? DraftArchitecture.ofFile(file).summary(file: file) : nil
  }

  private static func isHead(_ file: GGUFFile) -> Bool {
    (try? file.string(HeadKeys.architecture)).map { name in
      DraftArchitecture.allCases.contains { $0.shape.ggufArchitecture == name }
    } ?? false
  }

  /// Throws when `write` would replace a file that is no head, or a folder.
  package static func requireReplaceable(_ path: String) throws {
    guard !FileTree.isFolder(path) else {
      throw LocatedError(path: path, problem: "is a folder", advice: "choose another name for the file")
    }
    guard FileTree.isFile(path), try FileTree.size(of: path) > 0 else { return }
    guard let file = try? GGUFFile(path: path), isHead(file) else {
      throw LocatedError(
        path: path, problem: "holds something else than an exported head", advice: "choose another name, or remove it")
    }
  }
}

/// The contents of a head's GGUF file except the values of its tensors.
package struct HeadFile {
  package var architecture: String
  /// Metadata under the architecture's name.
  package var fields: [GGUFField]
  /// Fields of the tokenizer that the target does not have.
  package var tokenizer: [GGUFField] = []
  /// Tensors that are no parameters.
  package var tensors: [(name: String, tensor: Tensor)] = []
  /// The name in the file of each of the head's tensors.
  package var tensorName: (String) -> String
  /// A tensor with its rows in the order of the file.
  package var rows: (String, Tensor) -> Tensor
  /// The name in the file of the rows of the target's LM head for the draft vocabulary; nil for none.
  package var headRows: String?
}
