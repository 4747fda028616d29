import EagleTensor
import Foundation

/// Keys and values of one sequence: an entry for each token, in the order of positions, with `width` elements of keys
/// and as many of values in each layer. Reference semantics: the segments of a pass hold the cache itself.
///
/// Addresses are reserved for some entries at first, and for twice as many whenever these are full. So a cache may have
/// the capacity of the model's whole context and still fit a limit of virtual memory. Entries take memory when they are
/// written, and `releaseUnused` returns it to the system.
///
/// A layer with a window of W keys keeps the last 2 W - 1 entries, so that the last W can be dropped again. It holds at
/// most 4 W entries, or 2 W - 1 and those of a pass if these are more.
package final class KVCache {
  /// Valid entries; the next token becomes the entry with this index.
  package private(set) var count = 0
  /// The largest number of entries.
  package let capacity: Int
  private var layers: [CacheLayer]

  /// The entries that are reserved at first: enough for most dialogues, and 151 MB of addresses for Qwen3-4B in bf16.
  private static let firstEntries = 1024

  /// A layer of a cache: the width of its entries, its window, nil for none, and the type of its elements.
  package struct LayerShape: Sendable, Hashable {
    package var width: Int
    package var window: Int?
    package var dtype: DType

    package init(width: Int, window: Int? = nil, format: CacheFormat = .fp32) {
      (self.width, self.window, dtype) = (width, window, format.dtype)
    }

    /// Bytes of the keys, or of the values, of an entry.
    var entryBytes: Int { dtype.bytes(width) }

    /// The most bytes of the keys and values of this many tokens. With a window W, old entries are dropped when 4 W are
    /// present, or when the 2 W - 1 that stay and those of a pass need more.
    ///
    /// - Parameter pass: the most tokens of a pass
    package func byteCount(tokens: Int, pass: Int) -> Int {
      2 * entryBytes * min(tokens, window.map { max(4 * $0, 2 * $0 - 1 + pass) } ?? tokens)
    }
  }

  /// An empty cache for at most `capacity` entries.
  package init(layers: [LayerShape], capacity: Int) {
    self.capacity = capacity
    self.layers = layers.map { CacheLayer(shape: $0) }
  }

  /// The entries that have addresses at present, in a layer without a window.
  package var reserved: Int { layers.map(\.reserved).max() ?? 0 }

  /// Bytes of memory that its entries take.
  package var byteCount: Int { layers.reduce(0) { $0 + $1.byteCount } }

  /// The addresses of the keys and values of a layer's first stored entry, the entry `first`. They are valid until the
  /// next entry is written.
  func start(of layer: Int) -> (k: UnsafeRawPointer, v: UnsafeRawPointer, first: Int) {
    precondition(layer < layers.count && layers[layer].reserved > 0, "layer \(layer) of a cache of \(layers.count)")
    return (UnsafeRawPointer(layers[layer].k), UnsafeRawPointer(layers[layer].v), layers[layer].first)
  }

  /// Whether the cache has all entries that a token after `newCount` entries sees: layers with windows have dropped
  /// older ones.
  package func canTruncate(to newCount: Int) -> Bool {
    newCount == 0
      || layers.allSatisfy { $0.first == 0 || newCount - ($0.shape.window ?? 0) + 1 >= $0.first }
  }

  /// Reserves addresses for this many entries, so that a pass cannot fail for lack of them.
  ///
  /// Valid entries move layer by layer, so that no more than one layer is in memory twice.
  ///
  /// - Throws: `AddressSpaceError` where the system refuses them; the cache stays as it is
  package func reserve(_ entries: Int) throws {
    precondition(entries <= capacity, "\(entries) entries in a cache of at most \(capacity)")
    // All layers reserve before any of them changes, so that a refusal leaves the cache as it is.
    let new = try layers.map {
      try $0.storage(for: entries, count: count, capacity: capacity, least: Self.firstEntries)
    }
    for (index, storage) in new.enumerated() { layers[index].prepare(entries, count: count, in: storage) }
  }

  /// Returns the memory after the valid entries to the system.
  package func releaseUnused() {
    for index in layers.indices { layers[index].releaseUnused(count: count) }
  }

  /// The type of the keys and values of a layer.
  func dtype(of layer: Int) -> DType { layers[layer].shape.dtype }

  /// Writes batch rows `range` of k and v [R, width], rounded to the layer's type, after the valid entries of `layer`;
  /// `advance` makes them valid.
  package func write(_ layer: Int, _ k: Tensor, _ v: Tensor, rows range: Range<Int>) {
    write(layer, k.floats, v.floats, rows: range)
  }

  func write(_ layer: Int, _ k: UnsafePointer<Float>, _ v: UnsafePointer<Float>, rows range: Range<Int>) {
    precondition(count + range.count <= capacity, "cache of \(capacity) entries cannot take \(range.count) more")
    // Only at the first layer of a pass: `reserve` grows all layers.
    if !layers[layer].takes(range.count, behind: count) { growOrStop(count + range.count) }
    layers[layer].write(k, v, rows: range, at: count)
  }

  /// Grows for a caller that has not reserved. A pass has no way to report the error.
  private func growOrStop(_ entries: Int) {
    do { try reserve(entries) } catch { preconditionFailure("\(error)") }
  }

  /// The keys and values of a layer from entry `first` on, [entries, width] each: valid entries and reserved ones. A
  /// later write may move them to other addresses.
  package func entries(of layer: Int) -> (k: Tensor, v: Tensor, first: Int) {
    if layers[layer].reserved == 0 { growOrStop(min(capacity, 1)) }
    return layers[layer].tensors
  }

  /// Makes written entries valid.
  package func advance(_ entries: Int) {
    precondition(
      layers.allSatisfy { count + entries - $0.first <= $0.reserved },
      "cache with addresses for \(reserved) entries cannot hold \(count + entries)")
    count += entries
  }

  /// Drops the entries from `newCount` on.
  package func truncate(to newCount: Int) {
    precondition(newCount <= count && canTruncate(to: newCount), "cache of \(count) entries cut to \(newCount)")
    count = newCount
    if newCount == 0 { for index in layers.indices { layers[index].clear() } }
  }

  /// Keeps the first `first` entries and, after them, the entries at `first + path[i]` in this order, and drops all
  /// others: the accepted path of a tree. The offsets of a path increase.
  package func keep(_ path: [Int], from first: Int) {
    precondition(
      zip(path, path.dropFirst()).allSatisfy { $0 < $1 } && first + (path.last ?? -1) < count && (path.first ?? 0) >= 0,
      "path \(path) from entry \(first) in a cache of \(count)")
    for layer in layers { layer.keep(path, from: first) }
    count = first + path.count
  }
}

/// Keys and values of one layer: entries `first` and later.
private struct CacheLayer {
  let shape: KVCache.LayerShape
  /// Keys, followed by values: [reserved, width] each.
  private var storage: Storage?
  /// Entries that have addresses.
  private(set) var reserved = 0
  /// The entry at the start of the storage.
  private(set) var first = 0
  /// Entries that have memory: all that were ever written since the last release.
  private var touched = 0

  init(shape: KVCache.LayerShape) { self.shape = shape }

  var k: UnsafeMutableRawPointer {
    guard let storage else { preconditionFailure("a cache without addresses") }
    return storage.base
  }

  var v: UnsafeMutableRawPointer { k + reserved * shape.entryBytes }

  var byteCount: Int { 2 * touched * shape.entryBytes }

  var tensors: (k: Tensor, v: Tensor, first: Int) {
    guard let storage else { preconditionFailure("a cache without addresses") }
    func tensor(at byteOffset: Int) -> Tensor {
      Tensor([reserved, shape.width], dtype: shape.dtype, storage: storage, byteOffset: byteOffset)
    }
    return (tensor(at: 0), tensor(at: reserved * shape.entryBytes), first)
  }

  func takes(_ entries: Int, behind count: Int) -> Bool { count - first + entries <= reserved }

  /// The first entry that stays when more are added: after W entries are dropped again, a next token must have all
  /// W - 1 earlier ones that it sees.
  private func firstKept(_ count: Int) -> Int {
    guard let window = shape.window else { return 0 }
    return max(first, count - 2 * window + 1)
  }

  /// New storage for this many entries; nil if the present one suffices, perhaps after its entries move.
  func storage(for entries: Int, count: Int, capacity: Int, least: Int) throws -> Storage? {
    guard entries - first > reserved else { return nil }
    let needed = entries - firstKept(count)
    guard needed > reserved else { return nil }
    let most = shape.window == nil ? capacity : min(capacity, max(needed, 4 * (shape.window ?? 0)))
    let wanted = min(most, max(needed, 2 * reserved, least))
    return try Storage(reserving: 2 * wanted * shape.entryBytes)
  }

  /// Moves the entries that stay to the start of the new storage, or of the present one.
  mutating func prepare(_ entries: Int, count: Int, in new: Storage?) {
    guard entries - first > reserved else { return }
    let kept = firstKept(count)
    let (from, bytes) = ((kept - first) * shape.entryBytes, (count - kept) * shape.entryBytes)
    if let new {
      let size = new.byteCount / (2 * shape.entryBytes)
      if storage != nil {
        memcpy(new.base, k + from, bytes)
        memcpy(new.base + size * shape.entryBytes, v + from, bytes)
      }
      (storage, reserved, touched) = (new, size, count - kept)
    } else {
      memmove(k, k + from, bytes)
      memmove(v, v + from, bytes)
    }
    first = kept
  }

  mutating func write(
    _ newK: UnsafePointer<Float>, _ newV: UnsafePointer<Float>, rows range: Range<Int>, at count: Int
  ) {
    let (offset, from) = ((count - first) * shape.entryBytes, range.lowerBound * shape.width)
    shape.dtype.round(newK + from, count: range.count * shape.width, into: k + offset)
    shape.dtype.round(newV + from, count: range.count * shape.width, into: v + offset)
    touched = max(touched, count - first + range.count)
  }

  func keep(_ path: [Int], from start: Int) {
    for (i, offset) in path.enumerated() where offset != i {
      for base in [k, v] {
        let entry = base + (start - first) * shape.entryBytes
        memmove(entry + i * shape.entryBytes, entry + offset * shape.entryBytes, shape.entryBytes)
      }
    }
  }

  mutating func clear() { first = 0 }

  mutating func releaseUnused(count: Int) {
    let held = count - first
    guard touched > held, let storage else { return }
    let (begin, end) = (held * shape.entryBytes, reserved * shape.entryBytes)
    storage.release(begin..<end)
    storage.release(end + begin..<2 * end)
    touched = held
  }
}
