import EagleTensor

/// Keys and values of one sequence: for each layer, rows of `keyWidth` floats in the order of positions.
///
/// The addresses of all `capacity` rows are reserved at the start and memory comes with the rows, so a cache may be made
/// for the model's whole context, and no row ever moves as it grows.
public final class KVCache {
  /// Rows that are valid; the next row goes there.
  public private(set) var count = 0
  /// Rows that there are addresses for.
  public let capacity: Int
  /// Floats of a row of keys or values.
  let width: Int
  private let storage: Storage
  private let keys: [Tensor]  // each [capacity, keyWidth]
  private let values: [Tensor]

  public init(layers: Int, shape: AttentionShape, capacity: Int) {
    width = shape.keyWidth
    self.capacity = capacity
    let bytes = capacity * shape.keyWidth * DType.float32.size
    let storage = Storage(reserving: 2 * layers * bytes)
    self.storage = storage
    func rows(_ index: Int) -> Tensor {
      Tensor([capacity, shape.keyWidth], dtype: .float32, storage: storage, byteOffset: index * bytes)
    }
    keys = (0..<layers).map { rows(2 * $0) }
    values = (0..<layers).map { rows(2 * $0 + 1) }
  }

  /// Where the keys and the values of a layer begin.
  func start(of layer: Int) -> (k: UnsafeMutablePointer<Float>, v: UnsafeMutablePointer<Float>) {
    precondition(layer < keys.count, "layer \(layer) of a cache of \(keys.count)")
    let floats = capacity * width
    let k = storage.base.assumingMemoryBound(to: Float.self) + 2 * layer * floats
    return (k, k + floats)
  }

  /// Writes rows `range` of k and v [R, keyWidth] behind the valid rows of `layer`; `advance` makes them valid.
  func write(_ layer: Int, _ k: Tensor, _ v: Tensor, rows range: Range<Int>) {
    write(layer, k.floats, v.floats, rows: range)
  }

  func write(_ layer: Int, _ k: UnsafePointer<Float>, _ v: UnsafePointer<Float>, rows range: Range<Int>) {
    precondition(count + range.count <= capacity, "cache of \(capacity) rows has no room for \(range.count) more")
    let target = start(of: layer)
    (target.k + count * width).update(from: k + range.lowerBound * width, count: range.count * width)
    (target.v + count * width).update(from: v + range.lowerBound * width, count: range.count * width)
  }

  /// Adds all rows of k and v to a cache of one layer.
  public func append(_ k: Tensor, _ v: Tensor) {
    write(0, k, v, rows: 0..<k.rows)
    advance(k.rows)
  }

  /// All rows of a layer, valid and reserved.
  public func rows(of layer: Int) -> (k: Tensor, v: Tensor) { (keys[layer], values[layer]) }

  /// Makes `rows` written rows valid.
  public func advance(_ rows: Int) {
    precondition(count + rows <= capacity, "cache of \(capacity) rows cannot hold \(count + rows)")
    count += rows
  }

  /// Drops the rows from `newCount` on.
  public func truncate(to newCount: Int) {
    precondition(newCount <= count, "cache of \(count) rows cut to \(newCount)")
    count = newCount
  }

  /// Of the rows from `first` on keeps those at `first + path[i]`, in that order, and drops the others: the accepted path
  /// of a tree, whose places increase.
  public func keep(_ path: [Int], from first: Int) {
    precondition(
      zip(path, path.dropFirst()).allSatisfy { $0 < $1 } && first + (path.last ?? -1) < count && (path.first ?? 0) >= 0,
      "path \(path) from row \(first) in a cache of \(count)")
    for (i, place) in path.enumerated() where place != i {
      for rows in keys + values {
        (rows.floats + (first + i) * width).update(from: rows.floats + (first + place) * width, count: width)
      }
    }
    count = first + path.count
  }
}
