import EagleCluster
import EagleDraft
import EagleModels
import EagleTensor
import Foundation

extension DraftModel {
  /// The description of a head, which other ranks need before they receive its weights.
  private struct Header: Codable {
    var shape: DraftDescription
    var vocabulary: [Int32]
    /// The type of each parameter.
    var types: [DType]
    var isTrainable: Bool
  }

  /// Broadcasts the head of rank 0, so that all ranks have the same bits with any disk and processor. Collective.
  ///
  /// - Parameter draft: the head on rank 0; ignored on other ranks
  package static func shared(_ draft: DraftModel?, target: TargetShape, cluster: any Communicator) throws -> DraftModel
  {
    guard cluster.isRoot else { return try received(target, cluster) }
    guard let draft else { preconditionFailure("rank 0 has no head to share") }
    if cluster.size > 1 { try send(draft, cluster) }
    return draft
  }

  private static func send(_ draft: DraftModel, _ cluster: any Communicator) throws {
    let header = Header(
      shape: DraftDescription(draft.shape), vocabulary: draft.vocabulary.targetIDs,
      types: draft.parameters.map(\.variable.value.dtype),
      isTrainable: draft.parameters.contains { $0.variable.requiresGradient })
    _ = try cluster.broadcast(data: try JSONEncoder().encode(header))
    for parameter in draft.parameters {
      // A copy, because a broadcast may write to its buffer, and a memory-mapped file is read-only.
      let value = parameter.variable.value
      let copy = Tensor(value.shape, dtype: value.dtype)
      copy.rawBytes.copyMemory(from: UnsafeRawBufferPointer(value.rawBytes))
      try cluster.broadcast(copy.rawBytes, root: 0)
    }
  }

  private static func received(_ target: TargetShape, _ cluster: any Communicator) throws -> DraftModel {
    let header = try JSONDecoder().decode(Header.self, from: try cluster.broadcast(data: Data()))
    var tensors: [String: Tensor] = [:]
    for ((name, size), type) in zip(header.shape.shape.tensorShapes, header.types) {
      let tensor = Tensor(size, dtype: type)
      try cluster.broadcast(tensor.rawBytes, root: 0)
      tensors[name] = tensor
    }
    let vocabulary = try DraftVocabulary(
      checking: header.vocabulary, targetSize: target.vocabularySize, path: "rank 0's draft vocabulary")
    return DraftModel(
      shape: header.shape.shape, vocabulary: vocabulary, tensors: tensors, trainable: header.isTrainable)
  }
}
