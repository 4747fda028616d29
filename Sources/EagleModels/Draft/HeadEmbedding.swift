import EagleCore
import EagleTensor

/// A copy of the target's embedding beside a head, which other programs read.
enum HeadEmbedding {
  /// Throws unless a copy is the target's embedding, which drafting uses. It may differ by rounding and no more, and where
  /// one of them is quantised by the error of blocks: of 4 bits that is some 1 % of the squares. Every 97th row is compared.
  static func check(_ copy: Tensor, _ name: String, target: TargetModel, path: String) throws {
    let rows = stride(from: Int32(0), to: Int32(target.shape.vocabularySize), by: 97).map { $0 }
    let (theirs, ours) = (Rows.gather(copy, rows).values, Rows.gather(target.embedding, rows).values)
    let difference = zip(theirs, ours).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
    let share: Float = copy.dtype.isBlocks || target.embedding.dtype.isBlocks ? 5e-2 : 1e-4
    guard difference <= share * ours.reduce(0, { $0 + $1 * $1 }) else {
      throw LocatedError(
        path: path, problem: "`\(name)` is not the target's embedding",
        advice: "use the target that this head was trained for")
    }
  }
}
