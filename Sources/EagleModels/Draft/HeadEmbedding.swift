import EagleCore
import EagleTensor

/// A table beside a head's other tensors: a copy of the target's embedding, which other programs read, or its own.
enum HeadEmbedding {
  /// Whether a table is the target's embedding. A copy may differ by rounding and no more, and where one of them is
  /// quantised by the error of blocks: of 4 bits that is some 1 % of the squares. Every 97th row is compared.
  static func isCopy(_ table: Tensor, of target: TargetModel) -> Bool {
    guard table.columns == target.shape.hiddenSize else { return false }
    let rows = stride(from: Int32(0), to: Int32(target.shape.vocabularySize), by: 97).map { $0 }
    let (theirs, ours) = (Rows.gather(table, rows).values, Rows.gather(target.embedding, rows).values)
    let difference = zip(theirs, ours).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
    let share: Float = table.dtype.isBlocks || target.embedding.dtype.isBlocks ? 5e-2 : 1e-4
    return difference <= share * ours.reduce(0) { $0 + $1 * $1 }
  }

  /// - Throws: where the head's hidden size is not the target's, and it has no table of its own
  static func requireTable(_ shape: DraftShape, path: String) throws {
    guard shape.variant.targetHiddenSize != nil else { return }
    for (name, owner) in [("an embedding", shape.variant.embedding), ("an LM head", shape.variant.lmHead)]
    where owner == .target {
      throw LocatedError(
        path: path,
        problem:
          "has the hidden size \(shape.hiddenSize) for a target of \(shape.targetHiddenSize), and no \(name.dropFirst(3)) of its own",
        advice: "download the head again, with all of its files")
    }
  }
}
