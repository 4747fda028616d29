import EagleTensor

/// Keys and values of one sequence: an entry for each token, in the order of positions, with `width` floats of keys and
/// as many of values in each layer. Reference semantics: the segments of a pass hold the cache itself.
///
/// Addresses are reserved for some entries at first, and for twice as many whenever these are full. So a cache may be
/// made for the model's whole context and still fit a limit of virtual memory. Memory comes with the entries, and goes
/// back to the system with `releaseUnused`.
package final class KVCache {
  /// Valid entries; the next token becomes the entry with this index.
  package private(set) var count = 0
  /// The largest number of entries.
  package let capacity: Int
  /// Entries that have addresses at present.
  package private(set) var reserved = 0
  /// Floats of an entry's keys, and of its values, in one layer.
  let width: Int
  private let layerCount: Int
  private var layers: [Layer] = []
  /// Entries that have memory: all that were ever written since the last release.
  private var touched = 0

  /// Entries that are reserved at first. They hold most dialogues, and take 300 MB of addresses for Qwen3-4B.
  private static let firstEntries = 1024

  /// Keys and, behind them, values of one layer: [entries, width] each.
  private struct Layer {
    let storage: Storage
    let k, v: UnsafeMutablePointer<Float>

    init(entries: Int, width: Int) throws {
      storage = try Storage(reserving: 2 * entries * width * DType.float32.size)
      k = storage.base.assumingMemoryBound(to: Float.self)
      v = k + entries * width
    }
  }

  /// An empty cache for at most `capacity` entries.
  package init(layers: Int, shape: AttentionShape, capacity: Int) {
    (width, layerCount, self.capacity) = (shape.keyWidth, layers, capacity)
  }

  /// Bytes of one entry in all layers.
  package var entryBytes: Int { Self.entryBytes(layers: layerCount, width: width) }

  /// Bytes of one entry, keys and values in float32, in all layers.
  static func entryBytes(layers: Int, width: Int) -> Int { 2 * layers * width * DType.float32.size }

  /// Bytes of memory that its entries take.
  package var byteCount: Int { touched * entryBytes }

  /// The addresses of a layer's first keys and values, which hold until the next entry is written.
  func start(of layer: Int) -> (k: UnsafeMutablePointer<Float>, v: UnsafeMutablePointer<Float>) {
    precondition(layer < layers.count, "layer \(layer) of a cache of \(layers.count)")
    return (layers[layer].k, layers[layer].v)
  }

  /// Reserves addresses for this many entries, so that a pass cannot fail for want of them.
  ///
  /// Valid entries move layer by layer, so that no more than one layer is in memory twice.
  ///
  /// - Throws: `AddressSpaceError` where the system refuses them; the cache stays as it is
  package func reserve(_ entries: Int) throws {
    precondition(entries <= capacity, "\(entries) entries in a cache of at most \(capacity)")
    guard entries > reserved else { return }
    let wanted = min(capacity, max(entries, 2 * reserved, Self.firstEntries))
    if layers.isEmpty { return try begin(wanted) }
    // All addresses first: a refusal must leave no layer behind.
    let new = try layers.map { _ in try Layer(entries: wanted, width: width) }
    for (index, layer) in new.enumerated() {
      layer.k.update(from: layers[index].k, count: count * width)
      layer.v.update(from: layers[index].v, count: count * width)
      layers[index] = layer
    }
    (reserved, touched) = (wanted, count)
  }

  private func begin(_ entries: Int) throws {
    layers = try (0..<layerCount).map { _ in try Layer(entries: entries, width: width) }
    reserved = entries
  }

  /// Gives the memory behind the valid entries back to the system.
  package func releaseUnused() {
    guard touched > count else { return }
    let (first, end) = (count * width * DType.float32.size, reserved * width * DType.float32.size)
    for layer in layers {
      layer.storage.release(first..<end)
      layer.storage.release(end + first..<2 * end)
    }
    touched = count
  }

  /// Writes batch rows `range` of k and v [R, width] behind the valid entries of `layer`; `advance` makes them valid.
  func write(_ layer: Int, _ k: Tensor, _ v: Tensor, rows range: Range<Int>) {
    write(layer, k.floats, v.floats, rows: range)
  }

  func write(_ layer: Int, _ k: UnsafePointer<Float>, _ v: UnsafePointer<Float>, rows range: Range<Int>) {
    precondition(count + range.count <= capacity, "cache of \(capacity) entries cannot take \(range.count) more")
    // Only with the first layer of a pass: the others get as many entries.
    if count + range.count > reserved { growOrStop(count + range.count) }
    touched = max(touched, count + range.count)
    let target = start(of: layer)
    (target.k + count * width).update(from: k + range.lowerBound * width, count: range.count * width)
    (target.v + count * width).update(from: v + range.lowerBound * width, count: range.count * width)
  }

  /// Grows for a caller that has not reserved. A pass has no way to report the error.
  private func growOrStop(_ entries: Int) {
    do { try reserve(entries) } catch { preconditionFailure("\(error)") }
  }

  /// Appends all rows of k and v [R, width] to a cache of one layer.
  package func append(_ k: Tensor, _ v: Tensor) {
    write(0, k, v, rows: 0..<k.rows)
    advance(k.rows)
  }

  /// The keys and values of a layer, [reserved, width] each: valid entries and reserved ones. Entries that are written
  /// later may lie elsewhere.
  package func entries(of layer: Int) -> (k: Tensor, v: Tensor) {
    if layers.isEmpty { growOrStop(min(capacity, 1)) }
    let storage = layers[layer].storage
    func tensor(at byteOffset: Int) -> Tensor {
      Tensor([reserved, width], dtype: .float32, storage: storage, byteOffset: byteOffset)
    }
    return (tensor(at: 0), tensor(at: reserved * width * DType.float32.size))
  }

  /// Makes written entries valid.
  package func advance(_ entries: Int) {
    precondition(
      count + entries <= reserved, "cache with addresses for \(reserved) entries cannot hold \(count + entries)")
    count += entries
  }

  /// Drops the entries from `newCount` on.
  package func truncate(to newCount: Int) {
    precondition(newCount <= count, "cache of \(count) entries cut to \(newCount)")
    count = newCount
  }

  /// Keeps the entries at `first + path[i]` behind the first ones, in that order, and drops all others: the accepted
  /// path of a tree. The offsets of a path increase.
  package func keep(_ path: [Int], from first: Int) {
    precondition(
      zip(path, path.dropFirst()).allSatisfy { $0 < $1 } && first + (path.last ?? -1) < count && (path.first ?? 0) >= 0,
      "path \(path) from entry \(first) in a cache of \(count)")
    for (i, offset) in path.enumerated() where offset != i {
      for start in layers.flatMap({ [$0.k, $0.v] }) {
        (start + (first + i) * width).update(from: start + (first + offset) * width, count: width)
      }
    }
    count = first + path.count
  }
}
