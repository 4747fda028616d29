import CEagleKernels

// R query rows.

/// The addresses of the keys and values of single query rows: for each row a prefix of consecutive rows, followed by
/// single rows elsewhere in memory.
///
/// What they point to must stay alive as long as they are used.
package final class RowKeys {
  private let rows: UnsafeMutableBufferPointer<eagle_attention_keys>
  /// The addresses of the single keys of all rows, then of the values.
  private let singles: UnsafeMutableBufferPointer<UnsafeRawPointer?>
  /// Bytes of a key row.
  private let stride: Int
  private let type: eagle_weight_type
  /// The threads that attend: their number may change while a pass runs.
  private let threads = Parallel.threadCount

  /// - Parameters:
  ///   - counts: for each row the number of keys of its prefix, and of its single keys
  ///   - width: elements from one key row of a prefix to the next, kvHeads · d
  ///   - dtype: type of keys and values: float32, bfloat16, or Q8_0 with heads of whole blocks
  package init(_ counts: [(prefix: Int, single: Int)], width: Int, dtype: DType = .float32) {
    guard let type = dtype.weightType else { preconditionFailure("keys in \(dtype)") }
    (stride, self.type) = (dtype.bytes(width), type)
    rows = .allocate(capacity: counts.count)
    let total = counts.reduce(0) { $0 + $1.single }
    singles = .allocate(capacity: 2 * total)
    singles.initialize(repeating: nil)
    var first = 0
    for (row, count) in counts.enumerated() {
      var keys = eagle_attention_keys()
      (keys.prefix_count, keys.single_count, keys.stride) = (Int64(count.prefix), Int64(count.single), Int64(stride))
      if let base = singles.baseAddress {
        keys.single_k = UnsafePointer(base + first)
        keys.single_v = UnsafePointer(base + total + first)
      }
      first += count.single
      rows.initializeElement(at: row, to: keys)
    }
  }

  deinit {
    rows.deallocate()
    singles.deallocate()
  }

  /// Sets the address of the prefix of a row.
  package func setPrefix(_ row: Int, _ k: UnsafeRawPointer, _ v: UnsafeRawPointer) {
    precondition(row < rows.count, "keys of row \(row) of \(rows.count)")
    (rows[row].prefix_k, rows[row].prefix_v) = (k, v)
  }

  /// Sets the address of the j-th key of a row after its prefix.
  package func setSingle(_ row: Int, _ j: Int, _ k: UnsafeRawPointer, _ v: UnsafeRawPointer) {
    UnsafeMutablePointer(mutating: rows[row].single_k)![j] = k
    UnsafeMutablePointer(mutating: rows[row].single_v)![j] = v
  }

  /// Sets all keys of a row in one cache that begins at `k` and `v`.
  package func set(_ row: Int, _ k: UnsafeRawPointer, _ v: UnsafeRawPointer, _ seen: SeenKeys) {
    precondition(seen.prefix.count == rows[row].prefix_count && seen.path.count == rows[row].single_count)
    setPrefix(row, k + seen.prefix.lowerBound * stride, v + seen.prefix.lowerBound * stride)
    for (j, index) in seen.path.enumerated() { setSingle(row, j, k + index * stride, v + index * stride) }
  }

  /// Bytes of the scratch buffer that `attend` needs.
  package func scratchBytes(_ shape: AttentionShape) -> Int {
    Int(withUnsafePointer(to: arguments(shape)) { eagle_attention_scratch($0) }) * DType.float32.size
  }

  /// Attention of all rows: q and out [R, heads · d], sinks [heads], the log-sum-exp of each row and head [R, heads].
  package func attend(
    _ q: UnsafePointer<Float>, _ shape: AttentionShape, sinks: Tensor? = nil, into out: UnsafeMutablePointer<Float>,
    logSums: UnsafeMutablePointer<Float>? = nil, scratch: UnsafeMutableRawPointer
  ) {
    var attention = arguments(shape)
    (attention.q, attention.out, attention.lse) = (q, out, logSums)
    attention.sinks = sinks.map { UnsafePointer($0.floats) }
    attention.scratch = scratch.assumingMemoryBound(to: Float.self)
    eagle_attention_rows(&attention)
  }

  /// The same in plain loops, the reference of tests.
  package func attendPlainly(
    _ q: Tensor, _ shape: AttentionShape, sinks: Tensor? = nil, logSums: Tensor? = nil
  ) -> Tensor {
    let out = Tensor(q.shape)
    let longest = rows.map { Int($0.prefix_count + $0.single_count) }.max() ?? 0
    let scores = Tensor([longest])
    var attention = arguments(shape)
    (attention.q, attention.out, attention.lse) = (UnsafePointer(q.floats), out.floats, logSums?.floats)
    attention.sinks = sinks.map { UnsafePointer($0.floats) }
    withExtendedLifetime((scores, sinks)) { eagle_attention_plain(&attention, scores.floats) }
    return out
  }

  func attend(_ q: Tensor, _ shape: AttentionShape, sinks: Tensor? = nil, logSums: Tensor? = nil) -> Tensor {
    let out = Tensor(q.shape)
    let scratch = Storage(byteCount: scratchBytes(shape))
    withExtendedLifetime(scratch) {
      attend(q.floats, shape, sinks: sinks, into: out.floats, logSums: logSums?.floats, scratch: scratch.base)
    }
    return out
  }

  /// The arguments without queries, results and scratch buffer.
  private func arguments(_ shape: AttentionShape) -> eagle_attention {
    var attention = eagle_attention()
    (attention.rows, attention.threads) = (Int64(rows.count), Int64(threads))
    (attention.heads, attention.kv_heads) = (Int64(shape.heads), Int64(shape.kvHeads))
    (attention.d, attention.scale) = (Int64(shape.headDimension), shape.scale)
    attention.softcap = shape.softcap ?? 0
    attention.type = type
    attention.keys = UnsafePointer(rows.baseAddress)
    return attention
  }
}
