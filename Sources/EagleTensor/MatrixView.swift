/// A matrix in memory that its owner keeps alive: an operand or the result of a GEMM. `Base` is the address of its
/// first element.
package struct MatrixView<Base> {
  package let base: Base
  package let rows, columns: Int
  /// Elements from one row to the next as they are stored.
  package let stride: Int
  /// Whether what is stored as a row is a column of the matrix.
  package let isTransposed: Bool

  init(base: Base, rows: Int, columns: Int, stride: Int, isTransposed: Bool) {
    self.base = base
    self.rows = rows
    self.columns = columns
    self.stride = stride
    self.isTransposed = isTransposed
  }

  /// Rows that are stored `stride` elements apart.
  package init(_ base: Base, rows: Int, columns: Int, stride: Int) {
    self.init(base: base, rows: rows, columns: columns, stride: stride, isTransposed: false)
  }

  /// The same elements, with rows for columns.
  package var transposed: MatrixView {
    MatrixView(base: base, rows: columns, columns: rows, stride: stride, isTransposed: !isTransposed)
  }

  /// Elements from one row of the matrix to the next; this or `columnStride` is 1.
  package var rowStride: Int { isTransposed ? 1 : stride }
  package var columnStride: Int { isTransposed ? stride : 1 }
  package var shape: [Int] { [rows, columns] }

  /// The same matrix with its base converted.
  func map<Other>(_ transform: (Base) -> Other) -> MatrixView<Other> {
    MatrixView<Other>(
      base: transform(base), rows: rows, columns: columns, stride: stride, isTransposed: isTransposed)
  }
}

package typealias FloatMatrix = MatrixView<UnsafePointer<Float>>
package typealias BFloat16Matrix = MatrixView<UnsafePointer<UInt16>>
/// A matrix that a GEMM writes.
package typealias MutableFloatMatrix = MatrixView<UnsafeMutablePointer<Float>>

extension Tensor {
  /// The float32 elements as a matrix [rows, columns]. The tensor must outlive it.
  package var matrix: FloatMatrix { FloatMatrix(floats, rows: rows, columns: columns, stride: columns) }
  package var mutableMatrix: MutableFloatMatrix {
    MutableFloatMatrix(floats, rows: rows, columns: columns, stride: columns)
  }
  /// The bfloat16 elements as a matrix [rows, columns]. The tensor must outlive it.
  package var bfloat16Matrix: BFloat16Matrix { BFloat16Matrix(bfloats, rows: rows, columns: columns, stride: columns) }
}
