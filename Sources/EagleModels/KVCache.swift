import EagleTensor

/// Keys and values of one sequence: for each layer, rows of `keyWidth` floats in the order of positions.
public final class KVCache {
  /// Rows that are valid; the next row goes there.
  public private(set) var count = 0
  private let width: Int
  private var keys: [Tensor]  // each [capacity, keyWidth]
  private var values: [Tensor]
  /// Rows that there is room for.
  public private(set) var capacity: Int

  public init(layers: Int, shape: AttentionShape, capacity: Int = 256) {
    width = shape.keyWidth
    self.capacity = capacity
    keys = (0..<layers).map { _ in Tensor([capacity, shape.keyWidth]) }
    values = (0..<layers).map { _ in Tensor([capacity, shape.keyWidth]) }
  }

  /// Makes room for `rows` more rows after `count` in every layer.
  public func reserve(_ rows: Int) {
    guard count + rows > capacity else { return }
    capacity = max(count + rows, 2 * capacity)
    keys = keys.map(grown)
    values = values.map(grown)
  }

  /// Writes rows `range` of k and v [R, keyWidth] behind the valid rows of `layer`; `advance` makes them valid.
  func write(_ layer: Int, _ k: Tensor, _ v: Tensor, rows range: Range<Int>) {
    precondition(count + range.count <= capacity, "cache of \(capacity) rows has no room for \(range.count) more")
    for (source, target) in [(k, keys[layer]), (v, values[layer])] {
      (target.floats + count * width).update(from: source.floats + range.lowerBound * width, count: range.count * width)
    }
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

  private func grown(_ old: Tensor) -> Tensor {
    let new = Tensor([capacity, width])
    new.floats.update(from: old.floats, count: count * width)
    return new
  }
}
