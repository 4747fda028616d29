import CEagleKernels

// R query rows.

/// Where the keys and values of single query rows lie: for each row a prefix of consecutive rows, and behind it rows that lie apart.
///
/// What they point to must stay alive as long as they are used.
package final class RowKeys {
  private let rows: UnsafeMutableBufferPointer<eagle_attention_keys>
  /// Those that lie apart, of all rows: keys, then values.
  private let singles: UnsafeMutableBufferPointer<UnsafePointer<Float>?>
  private let width: Int
  /// That attend: their number may change while a pass goes on.
  private let threads = Parallel.threadCount

  /// - Parameters:
  ///   - counts: for each row how many keys its prefix has, and how many lie apart
  ///   - width: floats from one key row of a prefix to the next, kvHeads · d
  package init(_ counts: [(prefix: Int, single: Int)], width: Int) {
    self.width = width
    rows = .allocate(capacity: counts.count)
    let total = counts.reduce(0) { $0 + $1.single }
    singles = .allocate(capacity: 2 * total)
    singles.initialize(repeating: nil)
    var first = 0
    for (row, count) in counts.enumerated() {
      var keys = eagle_attention_keys()
      (keys.prefix_count, keys.chain_count, keys.stride) = (Int64(count.prefix), Int64(count.single), Int64(width))
      if let base = singles.baseAddress {
        keys.chain_k = UnsafePointer(base + first)
        keys.chain_v = UnsafePointer(base + total + first)
      }
      first += count.single
      rows.initializeElement(at: row, to: keys)
    }
  }

  deinit {
    rows.deallocate()
    singles.deallocate()
  }

  /// Where the prefix of a row begins.
  package func setPrefix(_ row: Int, _ k: UnsafePointer<Float>, _ v: UnsafePointer<Float>) {
    precondition(row < rows.count, "keys of row \(row) of \(rows.count)")
    (rows[row].prefix_k, rows[row].prefix_v) = (k, v)
  }

  /// Where the j-th key of a row beside its prefix lies.
  package func setSingle(_ row: Int, _ j: Int, _ k: UnsafePointer<Float>, _ v: UnsafePointer<Float>) {
    UnsafeMutablePointer(mutating: rows[row].chain_k)![j] = k
    UnsafeMutablePointer(mutating: rows[row].chain_v)![j] = v
  }

  /// All keys of a row in one cache that begins at `k` and `v`: `path` are its places behind the prefix.
  package func set(_ row: Int, _ k: UnsafePointer<Float>, _ v: UnsafePointer<Float>, path: [Int]) {
    setPrefix(row, k, v)
    let end = Int(rows[row].prefix_count)
    for (j, place) in path.enumerated() { setSingle(row, j, k + (end + place) * width, v + (end + place) * width) }
  }

  /// Bytes that `attend` needs beside its result.
  package func room(_ shape: AttentionShape) -> Int {
    let floats = eagle_attention_room(
      Int64(rows.count), Int64(shape.heads), Int64(shape.kvHeads), UnsafePointer(rows.baseAddress), Int64(threads))
    return Int(floats) * DType.float32.size
  }

  /// Attention of all rows: q and out [R, heads · d], the log-sum-exp of each row and head [R, heads].
  package func attend(
    _ q: UnsafePointer<Float>, _ shape: AttentionShape, into out: UnsafeMutablePointer<Float>,
    logSums: UnsafeMutablePointer<Float>? = nil, room: UnsafeMutableRawPointer
  ) {
    eagle_attention(
      q, Int64(rows.count), Int64(shape.heads), Int64(shape.kvHeads), Int64(shape.headDimension),
      UnsafePointer(rows.baseAddress), shape.scale, room.assumingMemoryBound(to: Float.self), Int64(threads), out,
      logSums)
  }

  func attend(_ q: Tensor, _ shape: AttentionShape, logSums: Tensor? = nil) -> Tensor {
    let out = Tensor(q.shape)
    let room = Storage(byteCount: room(shape))
    withExtendedLifetime(room) {
      attend(q.floats, shape, into: out.floats, logSums: logSums?.floats, room: room.base)
    }
    return out
  }
}
