import EagleCluster
import EagleModels
import EagleTensor
import Foundation

extension DraftModel {
  /// What other ranks must know before a head's weights come.
  private struct Header: Codable {
    var shape: DraftShape
    var vocabulary: [Int32]
    /// Whether each parameter is bfloat16, else float32.
    var isNarrow: [Bool]
    var isTrainable: Bool
  }

  /// Rank 0's head on all ranks, whatever their own disks and processors would make of it. Collective.
  ///
  /// - Parameter draft: on rank 0; not looked at on others
  public static func shared(_ draft: DraftModel?, target: TargetShape, cluster: any Communicator) throws -> DraftModel {
    let header = try draft.map { draft in
      Header(
        shape: draft.shape, vocabulary: draft.vocabulary.targetIDs,
        isNarrow: draft.parameters.map { $0.variable.value.dtype == .bfloat16 },
        isTrainable: draft.parameters.contains { $0.variable.requiresGradient })
    }
    let data = try cluster.broadcast(data: cluster.isRoot ? try JSONEncoder().encode(header) : Data())
    let known = try JSONDecoder().decode(Header.self, from: data)
    var tensors: [String: Tensor] = [:]
    for (index, (name, size)) in tensorShapes(known.shape).enumerated() {
      let tensor =
        cluster.isRoot
        ? draft!.parameters[index].variable.value : Tensor(size, dtype: known.isNarrow[index] ? .bfloat16 : .float32)
      if cluster.size > 1 { try broadcast(tensor, cluster) }
      tensors[name] = tensor
    }
    if let draft, cluster.isRoot { return draft }
    let vocabulary = try DraftVocabulary(
      checking: known.vocabulary, targetSize: target.vocabularySize, path: "rank 0's draft vocabulary")
    return DraftModel(shape: known.shape, vocabulary: vocabulary, tensors: tensors, trainable: known.isTrainable)
  }

  /// A mapped file cannot be written to, as a broadcast may on the rank that it comes from.
  private static func broadcast(_ tensor: Tensor, _ cluster: any Communicator) throws {
    guard cluster.isRoot else { return try cluster.broadcast(tensor.rawBytes, root: 0) }
    let copy = Tensor(tensor.shape, dtype: tensor.dtype)
    copy.rawBytes.copyMemory(from: UnsafeRawBufferPointer(tensor.rawBytes))
    try cluster.broadcast(copy.rawBytes, root: 0)
  }
}
