import EagleCore
import EagleStorage
import EagleTensor

/// The tensors of a GGUF model under their Hugging Face names, mapped from the file.
///
/// Matrices are as they are stored. Norms and biases are float32. Where llama.cpp has changed the order of the rows of
/// q and k, these two matrices are copies in the original order, in their stored format: a row is whole blocks.
struct GGUFTensors: TensorSource {
  private let file: GGUFFile
  private let items: [String: GGUFItem]

  init(of model: GGUFModel) {
    file = model.file
    items = Dictionary(uniqueKeysWithValues: model.items.map { ($0.target, $0) })
  }

  var path: String { file.path }

  func contains(_ name: String) -> Bool { items[name] != nil }

  func tensor(_ name: String) throws -> Tensor {
    guard case .rows(let source, let first, let heads, let offset) = try item(name).content else {
      preconditionFailure("`\(name)` is no tensor of a mapped model")
    }
    let shape = try item(name).shape
    let part = Self.part(of: try file.stored(source), from: first, shape)
    let rows = heads == 0 ? part : Self.inOrder(part, heads: heads)
    return offset == 0 ? rows : Tensor(rows.float32().values.map { $0 - offset }, shape)
  }

  func stored(_ names: [String]) throws -> [StoredTensor] {
    var seen: Set<String> = []
    let sources = try names.flatMap { try item($0).sources }.filter { seen.insert($0).inserted }
    return try sources.map { source in
      let info = try file.info(source)
      return StoredTensor(name: source, file: file.path(of: info), dtype: info.type, range: info.range)
    }
  }

  private func item(_ name: String) throws -> GGUFItem {
    guard let item = items[name] else {
      throw LocatedError(
        path: path, problem: "has no tensor for `\(name)`",
        advice: "the file is not a complete model of its architecture")
    }
    return item
  }

  /// Elements from `first` on, whole rows, sharing the storage.
  private static func part(of tensor: Tensor, from first: Int, _ shape: [Int]) -> Tensor {
    Tensor(
      shape, dtype: tensor.dtype, storage: tensor.storage, byteOffset: tensor.byteOffset + tensor.dtype.bytes(first))
  }

  /// The rows of q or k, or the elements of their biases, in the order of Hugging Face.
  private static func inOrder(_ x: Tensor, heads: Int) -> Tensor {
    let matrix = x.shape.count == 1 ? x.float32().reshaped([x.count, 1]) : x
    let order = (0..<matrix.rows).map { Int32(GGUFItem.storedRow(of: $0, rows: matrix.rows, heads: heads)) }
    return Rows.select(matrix, order).reshaped(x.shape)
  }
}
