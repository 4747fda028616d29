import EagleTensor

/// The tensors of a model by name, mapped from its files.
package protocol TensorSource: Sendable {
  /// The file, or the folder of several.
  var path: String { get }
  func contains(_ name: String) -> Bool
  /// The tensor of this name, read-only, over the mapped file wherever it is stored so; throws when there is none.
  func tensor(_ name: String) throws -> Tensor
  /// What the named tensors are made of: each stored tensor once, in the order of `names`.
  func stored(_ names: [String]) throws -> [StoredTensor]
}

/// A tensor as it is stored in a file.
package struct StoredTensor: Sendable, Equatable {
  package let name: String
  /// The path of the file.
  package let file: String
  package let dtype: DType
  /// Bytes of the file.
  package let range: Range<Int>

  package init(name: String, file: String, dtype: DType, range: Range<Int>) {
    (self.name, self.file, self.dtype, self.range) = (name, file, dtype, range)
  }
}
