import EagleTensor
import Foundation

// d head dimension · i pair of rotated elements, 0..<d / 2.

/// The order of the rows of q and k within a head: here the two elements of a rotated pair are rows i and i + d / 2, in
/// GGUF files of Llama's kind rows 2i and 2i + 1.
enum RowOrder {
  /// The same matrix with each head's pairs side by side, in its stored type.
  static func interleaved(_ matrix: Tensor, heads: Int) -> Tensor {
    permuted(matrix, heads: heads) { row, d in row % 2 * (d / 2) + row / 2 }
  }

  /// The reverse.
  static func halfSplit(_ matrix: Tensor, heads: Int) -> Tensor {
    permuted(matrix, heads: heads) { row, d in row < d / 2 ? 2 * row : 2 * (row - d / 2) + 1 }
  }

  /// A copy whose row `r` of each head is the row `source(r, d)` of that head. Rows are whole blocks.
  private static func permuted(_ matrix: Tensor, heads: Int, source: (_ row: Int, _ d: Int) -> Int) -> Tensor {
    precondition(matrix.rows % (2 * heads) == 0, "\(matrix.shape) has no \(heads) heads of pairs")
    let (d, bytes) = (matrix.rows / heads, matrix.dtype.bytes(matrix.columns))
    let copy = Tensor(matrix.shape, dtype: matrix.dtype)
    let (from, to) = (matrix.rawBytes.baseAddress!, copy.rawBytes.baseAddress!)
    for row in 0..<matrix.rows {
      let start = row - row % d + source(row % d, d)
      memcpy(to + row * bytes, from + start * bytes, bytes)
    }
    return copy
  }
}
