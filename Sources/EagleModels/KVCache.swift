import EagleTensor

/// Keys and values of one sequence: for each layer, rows of `keyWidth` floats in the order of positions.
///
/// Addresses are reserved for some rows at first, and for twice as many whenever these are full, so a cache may be made
/// for the model's whole context and still fit a limit of virtual memory. Memory itself comes with the rows.
public final class KVCache {
  /// Rows that are valid; the next row goes there.
  public private(set) var count = 0
  /// Rows that it may grow to.
  public let capacity: Int
  /// Rows that there are addresses for at present.
  package private(set) var reserved: Int
  /// Floats of a row of keys or values.
  let width: Int
  private var layers: [Layer]

  /// What a pass over a prompt and the answers of most dialogues need: 300 MB of addresses for Qwen3-4B.
  private static let firstRows = 1024

  /// Keys and, behind them, values of one layer: [rows, width] each.
  private struct Layer {
    let storage: Storage
    let k, v: UnsafeMutablePointer<Float>

    init(rows: Int, width: Int) {
      storage = Storage(reserving: 2 * rows * width * DType.float32.size)
      k = storage.base.assumingMemoryBound(to: Float.self)
      v = k + rows * width
    }
  }

  /// An empty cache for as many rows as `capacity`.
  public init(layers: Int, shape: AttentionShape, capacity: Int) {
    let (width, reserved) = (shape.keyWidth, min(capacity, Self.firstRows))
    (self.width, self.capacity, self.reserved) = (width, capacity, reserved)
    self.layers = (0..<layers).map { _ in Layer(rows: reserved, width: width) }
  }

  /// Where the keys and the values of a layer begin, until the next row is written.
  func start(of layer: Int) -> (k: UnsafeMutablePointer<Float>, v: UnsafeMutablePointer<Float>) {
    precondition(layer < layers.count, "layer \(layer) of a cache of \(layers.count)")
    return (layers[layer].k, layers[layer].v)
  }

  /// Moves the valid rows to where there are addresses for at least `rows` of them, layer by layer, so that no more
  /// than one layer is in memory twice.
  private func reserve(_ rows: Int) {
    reserved = min(capacity, max(rows, 2 * reserved))
    for index in layers.indices {
      let new = Layer(rows: reserved, width: width)
      new.k.update(from: layers[index].k, count: count * width)
      new.v.update(from: layers[index].v, count: count * width)
      layers[index] = new
    }
  }

  /// Writes rows `range` of k and v [R, keyWidth] behind the valid rows of `layer`; `advance` makes them valid.
  func write(_ layer: Int, _ k: Tensor, _ v: Tensor, rows range: Range<Int>) {
    write(layer, k.floats, v.floats, rows: range)
  }

  func write(_ layer: Int, _ k: UnsafePointer<Float>, _ v: UnsafePointer<Float>, rows range: Range<Int>) {
    precondition(count + range.count <= capacity, "cache of \(capacity) rows cannot take \(range.count) more")
    // Only with the first layer of a pass: the others get as many rows.
    if count + range.count > reserved { reserve(count + range.count) }
    let target = start(of: layer)
    (target.k + count * width).update(from: k + range.lowerBound * width, count: range.count * width)
    (target.v + count * width).update(from: v + range.lowerBound * width, count: range.count * width)
  }

  /// Adds all rows of k and v to a cache of one layer.
  public func append(_ k: Tensor, _ v: Tensor) {
    write(0, k, v, rows: 0..<k.rows)
    advance(k.rows)
  }

  /// All rows of a layer, valid and reserved. Rows that are written later may lie elsewhere.
  public func rows(of layer: Int) -> (k: Tensor, v: Tensor) {
    let storage = layers[layer].storage
    func rows(from byteOffset: Int) -> Tensor {
      Tensor([reserved, width], dtype: .float32, storage: storage, byteOffset: byteOffset)
    }
    return (rows(from: 0), rows(from: reserved * width * DType.float32.size))
  }

  /// Makes `rows` written rows valid.
  public func advance(_ rows: Int) {
    precondition(count + rows <= reserved, "cache with addresses for \(reserved) rows cannot hold \(count + rows)")
    count += rows
  }

  /// Drops the rows from `newCount` on.
  public func truncate(to newCount: Int) {
    precondition(newCount <= count, "cache of \(count) rows cut to \(newCount)")
    count = newCount
  }

  /// Of the rows from `first` on keeps those at `first + path[i]`, in that order, and drops the others: the accepted
  /// path of a tree, whose places increase.
  public func keep(_ path: [Int], from first: Int) {
    precondition(
      zip(path, path.dropFirst()).allSatisfy { $0 < $1 } && first + (path.last ?? -1) < count && (path.first ?? 0) >= 0,
      "path \(path) from row \(first) in a cache of \(count)")
    for (i, place) in path.enumerated() where place != i {
      for start in layers.flatMap({ [$0.k, $0.v] }) {
        (start + (first + i) * width).update(from: start + (first + place) * width, count: width)
      }
    }
    count = first + path.count
  }
}
