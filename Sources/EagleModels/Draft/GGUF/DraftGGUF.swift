import EagleCore
import EagleStorage
import EagleTensor
import Foundation

/// Writes draft heads as GGUF files, which llama.cpp loads beside a target (`--spec-type draft-eagle3`).
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
    fileprivate var fileType: Int {
      switch self {
      case .bf16: 32
      case .q8_0: 7
      case .q4_0: 2
      }
    }
  }

  /// Whether a path names a head's file and no folder.
  package static func isFile(_ path: String) -> Bool { path.hasSuffix(".gguf") && !FileTree.isFolder(path) }

  /// Writes the head, whole or not at all: matrices rounded to bfloat16 as in a folder and then perhaps quantised, norms
  /// float32.
  ///
  /// - Parameters:
  ///   - tokenizer: the fields `tokenizer.*` of the target
  ///   - type: the type of the matrices
  /// - Returns: the names of the matrices that stayed bfloat16, because their rows are no whole blocks
  /// - Throws: `LocatedError` for a rotary embedding that a file cannot describe, and a path that holds something else
  @discardableResult
  package static func write(
    _ model: DraftModel, target: TargetShape, tokenizer: [GGUFField], type: MatrixType, to path: String
  ) throws -> [String] {
    try requireReplaceable(path)
    try refuseVariants(model.shape, path)
    let rotary = try HeadRotary(model.shape, path: path)
    let shape = model.shape
    var tensors: [(name: String, tensor: Tensor)] = model.rounded().parameters.map { parameter in
      let name = HeadNames.tensors[parameter.name]!
      let value = parameter.variable.value
      guard value.shape.count == 2 else { return (name, value) }
      let matrix = type == .bf16 || value.columns % type.dtype.blockLength != 0 ? value : value.quantized(type.dtype)
      let heads = HeadNames.permutedHeads(parameter.name, shape)
      return (name, heads.map { RowOrder.interleaved(matrix, heads: $0) } ?? matrix)
    }
    let wide = type == .bf16 ? [] : tensors.filter { $0.tensor.dtype == .bfloat16 }.map(\.name)
    tensors += rotary.tensors
    if !model.vocabulary.isWhole { tensors.append((HeadNames.targetIDs, targetIDs(model.vocabulary))) }
    try GGUFWriter.write(
      path: path, fields: fields(shape, target, type) + rotary.fields + tokenizer, tensors: tensors)
    return wide
  }

  private static func fields(_ shape: DraftShape, _ target: TargetShape, _ type: MatrixType) -> [GGUFField] {
    func key(_ name: String) -> String { "\(HeadNames.architecture).\(name)" }
    let sizes: [(String, Int)] = [
      ("block_count", 1), ("context_length", target.maxPositions), ("embedding_length", shape.hiddenSize),
      ("feed_forward_length", shape.intermediateSize), ("vocab_size", shape.vocabularySize),
      ("target_hidden_size", target.hiddenSize), ("attention.head_count", shape.attention.heads),
      ("attention.head_count_kv", shape.attention.kvHeads), ("attention.key_length", shape.attention.headDimension),
      ("attention.value_length", shape.attention.headDimension),
      ("rope.dimension_count", shape.attention.headDimension),
    ]
    return [
      .string("general.architecture", HeadNames.architecture), .string("general.type", "model"),
      .uint32("general.file_type", type.fileType), .uint32("general.quantization_version", 2),
    ] + sizes.map { .uint32(key($0.0), $0.1) } + [
      .float32(key("attention.layer_norm_rms_epsilon"), shape.normEpsilon),
      .float32(key("rope.freq_base"), Float(shape.ropeTheta)),
      // Layers are named by their inputs: that of layer i + 1 is the output of layer i.
      .int32s(key("target_layers"), shape.captureLayers.map { Int32($0 + 1) }),
      .bool(key("norm_before_residual"), shape.variant.normsResidual),
      .bool(key("norm_before_fc"), shape.variant.featureNorm == .joint),
    ]
  }

  /// Throws, by name, for what llama.cpp does not compute.
  private static func refuseVariants(_ shape: DraftShape, _ path: String) throws {
    let variant = shape.variant
    let unknown: [(Bool, String)] = [
      (variant.featureNorm == .perState, "fc_norm"), (variant.feedsNormedState, "norm_output"),
      (variant.normsQueryKey, "norms of q and k (qk_norm)"), (variant.window != nil, "a sliding window"),
      (shape.captureLayers.count != 3, "\(shape.captureLayers.count) captured layers in place of three"),
    ]
    guard let first = unknown.first(where: { $0.0 }) else { return }
    throw LocatedError(
      path: path, problem: "the head has \(first.1), which llama.cpp does not compute and a GGUF file cannot say",
      advice: "export it as a folder")
  }

  private static func targetIDs(_ vocabulary: DraftVocabulary) -> Tensor {
    let tensor = Tensor([vocabulary.size], dtype: .int64)
    _ = tensor.buffer(Int64.self).initialize(from: vocabulary.targetIDs.map(Int64.init))
    return tensor
  }

  /// Throws when `write` would replace a file that is no head, or a folder.
  package static func requireReplaceable(_ path: String) throws {
    guard !FileTree.isFolder(path) else {
      throw LocatedError(path: path, problem: "is a folder", advice: "choose another name for the file")
    }
    guard FileTree.isFile(path), try FileTree.size(of: path) > 0 else { return }
    guard let file = try? GGUFFile(path: path), (try? file.string(HeadKeys.architecture)) == HeadNames.architecture
    else {
      throw LocatedError(
        path: path, problem: "holds something else than an exported head", advice: "choose another name, or remove it")
    }
  }
}
