import EagleTensor

/// Keys and values of one sequence: for each layer, rows of `keyWidth` floats in the order of positions.
///
/// Addresses are reserved for some rows at first, and for twice as many whenever these are full, so a cache may be made
/// for the model's whole context and still fit a limit of virtual memory. Memory itself comes with the rows, and goes
/// back to the system with `releaseUnused`. Reference semantics: segments of a pass share it.
public final class KVCache {
  /// Rows that are valid; the next row goes there.
  public private(set) var count = 0
  /// Rows that it may grow to.
  public let capacity: Int
  /// Rows that there are addresses for at present.
  package private(set) var reserved = 0
  /// Floats of a row of keys or values.
  let width: Int
  private let layerCount: Int
  private var layers: [Layer] = []
  /// Rows that have memory: all that were ever written since the last release.
  private var touched = 0

  /// What a pass over a prompt and the answers of most dialogues need: 300 MB of addresses for Qwen3-4B.
  private static let firstRows = 1024

  /// Keys and, behind them, values of one layer: [rows, width] each.
  private struct Layer {
    let storage: Storage
    let k, v: UnsafeMutablePointer<Float>

    init(rows: Int, width: Int) throws {
      storage = try Storage(reserving: 2 * rows * width * DType.float32.size)
      k = storage.base.assumingMemoryBound(to: Float.self)
      v = k + rows * width
    }
  }

  /// An empty cache for as many rows as `capacity`.
  public init(layers: Int, shape: AttentionShape, capacity: Int) {
    (width, layerCount, self.capacity) = (shape.keyWidth, layers, capacity)
  }

  /// Bytes of one row in all layers.
  public var rowBytes: Int { Self.rowBytes(layers: layerCount, width: width) }

  /// Bytes of one row of keys and values, float32, in all layers.
  static func rowBytes(layers: Int, width: Int) -> Int { 2 * layers * width * DType.float32.size }

  /// Bytes of memory that its rows take.
  public var byteCount: Int { touched * rowBytes }

  /// Where the keys and the values of a layer begin, until the next row is written.
  func start(of layer: Int) -> (k: UnsafeMutablePointer<Float>, v: UnsafeMutablePointer<Float>) {
    precondition(layer < layers.count, "layer \(layer) of a cache of \(layers.count)")
    return (layers[layer].k, layers[layer].v)
  }

  /// Makes sure that there are addresses for `rows` rows, so that a pass cannot fail for want of them.
  ///
  /// Valid rows move layer by layer, so that no more than one layer is in memory twice.
  ///
  /// - Throws: `AddressSpaceError` where the system refuses them; the cache stays as it is
  public func reserve(_ rows: Int) throws {
    precondition(rows <= capacity, "\(rows) rows in a cache of at most \(capacity)")
    guard rows > reserved else { return }
    let wanted = min(capacity, max(rows, 2 * reserved, Self.firstRows))
    if layers.isEmpty { return try begin(wanted) }
    // All addresses first: a refusal must leave no layer behind.
    let new = try layers.map { _ in try Layer(rows: wanted, width: width) }
    for (index, layer) in new.enumerated() {
      layer.k.update(from: layers[index].k, count: count * width)
      layer.v.update(from: layers[index].v, count: count * width)
      layers[index] = layer
    }
    (reserved, touched) = (wanted, count)
  }

  private func begin(_ rows: Int) throws {
    layers = try (0..<layerCount).map { _ in try Layer(rows: rows, width: width) }
    reserved = rows
  }

  /// Gives the memory of the rows behind the valid ones back to the system.
  public func releaseUnused() {
    guard touched > count else { return }
    let (first, end) = (count * width * DType.float32.size, reserved * width * DType.float32.size)
    for layer in layers {
      layer.storage.release(first..<end)
      layer.storage.release(end + first..<2 * end)
    }
    touched = count
  }

  /// Writes rows `range` of k and v [R, keyWidth] behind the valid rows of `layer`; `advance` makes them valid.
  func write(_ layer: Int, _ k: Tensor, _ v: Tensor, rows range: Range<Int>) {
    write(layer, k.floats, v.floats, rows: range)
  }

  func write(_ layer: Int, _ k: UnsafePointer<Float>, _ v: UnsafePointer<Float>, rows range: Range<Int>) {
    precondition(count + range.count <= capacity, "cache of \(capacity) rows cannot take \(range.count) more")
    // Only with the first layer of a pass: the others get as many rows.
    if count + range.count > reserved { growOrStop(count + range.count) }
    touched = max(touched, count + range.count)
    let target = start(of: layer)
    (target.k + count * width).update(from: k + range.lowerBound * width, count: range.count * width)
    (target.v + count * width).update(from: v + range.lowerBound * width, count: range.count * width)
  }

  /// For callers that have not reserved: there is nobody to tell within a pass.
  private func growOrStop(_ rows: Int) {
    do { try reserve(rows) } catch { preconditionFailure("\(error)") }
  }

  /// Adds all rows of k and v to a cache of one layer.
  public func append(_ k: Tensor, _ v: Tensor) {
    write(0, k, v, rows: 0..<k.rows)
    advance(k.rows)
  }

  /// All rows of a layer, valid and reserved. Rows that are written later may lie elsewhere.
  public func rows(of layer: Int) -> (k: Tensor, v: Tensor) {
    if layers.isEmpty { growOrStop(min(capacity, 1)) }
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
