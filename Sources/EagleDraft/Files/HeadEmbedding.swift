import EagleCore
import EagleModels
import EagleTensor
import Foundation

/// The embedding among a head's tensors: a copy of the target's, which other programs read, or the head's own.
enum HeadEmbedding {
  /// The key of a config whose head trained its embedding: speculators' own.
  static let key = "embed_requires_grad"
  /// The key of a block drafter's config whose LM head was trained. Without it, rows of the target's head that training
  /// has hardly changed would look like a copy.
  static let headKey = "lm_head_requires_grad"

  /// Whether a table is the target's own. Each row of a copy may differ by rounding to bfloat16 and no more. If one of
  /// the two is quantised, the table may differ by the quantisation error: for 4 bits about 1 % of the sum of squares.
  static func isCopy(_ table: Tensor, of own: Tensor) -> Bool {
    guard table.shape == own.shape else { return false }
    // Fast path: an identical copy, compared at the speed of memory.
    let (theirBytes, ourBytes) = (table.rawBytes, own.rawBytes)
    if table.dtype == own.dtype, theirBytes.count == ourBytes.count,
      memcmp(theirBytes.baseAddress!, ourBytes.baseAddress!, ourBytes.count) == 0
    {
      return true
    }
    let isRounded = table.dtype.isBlocks || own.dtype.isBlocks
    let rows = Array(stride(from: Int32(0), to: Int32(own.rows), by: isRounded ? 97 : 1))
    var (difference, size): (Float, Float) = (0, 0)
    for first in stride(from: 0, to: rows.count, by: 4096) {
      let part = Array(rows[first..<min(rows.count, first + 4096)])
      let (theirs, ours) = (Rows.gather(table, part).float32(), Rows.gather(own, part).float32())
      for row in 0..<part.count {
        let (own, distance) = squares(theirs, ours, row)
        // Rounding to bfloat16 changes a value by at most 2^-8 of it.
        if !isRounded, distance > 2e-5 * own { return false }
        (difference, size) = (difference + distance, size + own)
      }
    }
    return !isRounded || difference <= 5e-2 * size
  }

  /// The squares of a row of y, and those of its differences from the row of x.
  private static func squares(_ x: Tensor, _ y: Tensor, _ row: Int) -> (own: Float, distance: Float) {
    let (a, b) = (x.floats + row * x.columns, y.floats + row * y.columns)
    var (own, distance): (Float, Float) = (0, 0)
    for i in 0..<x.columns { (own, distance) = (own + b[i] * b[i], distance + (a[i] - b[i]) * (a[i] - b[i])) }
    return (own, distance)
  }

  /// - Throws: where the head's hidden size is not the target's, and it has no table of its own
  static func requireTable(_ shape: Eagle3Shape, path: String) throws {
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
