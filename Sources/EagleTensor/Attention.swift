import CEagleKernels

// R query rows · d head dimension · heads q heads, kvHeads of which share keys in groups.

/// The keys that one query row attends to: consecutive key rows and, in training, single rows of its own chain.
package struct AttentionRow {
  /// The first key row and the number of key rows of the causal prefix, or of the window at its end.
  package var prefixStart: Int32
  package var prefixCount: Int32

  package init(prefixStart: Int32, prefixCount: Int32) {
    self.prefixStart = prefixStart
    self.prefixCount = prefixCount
  }
}

/// The keys of a cache that one query row sees: a prefix of consecutive entries, followed by single ones.
package struct SeenKeys {
  package let prefix: Range<Int>
  /// Increasing indices of entries.
  package let path: [Int]

  package init(prefix: Range<Int>, path: [Int] = []) { (self.prefix, self.path) = (prefix, path) }

  package var count: Int { prefix.count + path.count }

  /// The same keys where the entries are stored at other indices.
  package func moved(by offset: Int) -> SeenKeys {
    SeenKeys(prefix: prefix.lowerBound + offset..<prefix.upperBound + offset, path: path.map { $0 + offset })
  }
}

/// Sizes of a grouped-query attention.
package struct AttentionShape: Sendable, Equatable, Codable {
  package let heads: Int
  package let kvHeads: Int
  package let headDimension: Int
  /// The factor of q · k; nil for 1 / √d.
  package var ownScale: Float?
  /// Scores become softcap · tanh(score / softcap); nil for none.
  package var softcap: Float?
  package var scale: Float { ownScale ?? 1 / Float(headDimension).squareRoot() }
  package var groupSize: Int { heads / kvHeads }
  package var queryWidth: Int { heads * headDimension }
  package var keyWidth: Int { kvHeads * headDimension }

  package init(heads: Int, kvHeads: Int, headDimension: Int) {
    precondition(kvHeads > 0 && heads % kvHeads == 0, "\(heads) heads in groups of \(kvHeads)")
    self.heads = heads
    self.kvHeads = kvHeads
    self.headDimension = headDimension
  }

  /// The same heads with the usual scale and no cap.
  package var plain: AttentionShape { AttentionShape(heads: heads, kvHeads: kvHeads, headDimension: headDimension) }
}

/// "A causal prefix plus a chain of ancestors": the one attention of target, draft training and decoding.
package enum Attention {
  /// out[r] = softmax(scale · q[r] · keys) values, over the prefix rows and the chain rows of r.
  ///
  /// - Parameters:
  ///   - q: [R, heads · d]
  ///   - k: [N, kvHeads · d], the rows that prefixes point into; float32, bfloat16 or Q8_0; a chain float32 in GEMMs
  ///   - v: as k
  ///   - rows: one entry for each row of q
  ///   - chain: (keys, values, row of each q row in them) for each chain step
  ///   - shape: heads and their width
  ///   - sinks: a logit for each head that takes part in its softmax and weights no value, [heads]
  ///   - logSums: receives the log-sum-exp of each row and head, [R, heads]
  ///   - mode: row by row where the mode is batch-invariant; otherwise blocks of rows meet the keys in GEMMs
  package static func apply(
    _ q: Tensor, _ k: Tensor, _ v: Tensor, rows: [AttentionRow], chain: [ChainStep] = [], shape: AttentionShape,
    sinks: Tensor? = nil, logSums: Tensor? = nil, _ mode: MatmulMode
  ) -> Tensor {
    precondition(
      q.shape == [rows.count, shape.queryWidth] && k.columns == shape.keyWidth && v.shape == k.shape,
      "attention of queries \(q.shape) for \(rows.count) rows, keys \(k.shape), values \(v.shape)")
    precondition(
      v.dtype == k.dtype && chain.allSatisfy { $0.k.dtype == k.dtype && $0.v.dtype == k.dtype },
      "keys in \(k.dtype), values in \(v.dtype), or a chain in another type")
    precondition(
      rows.allSatisfy { $0.prefixCount > 0 && Int($0.prefixStart + $0.prefixCount) <= k.rows },
      "a prefix is empty or ends past the \(k.rows) keys")
    if case .gemm(let precision) = mode {
      let end = rows.map { Int($0.prefixStart + $0.prefixCount) }.max() ?? 0
      let (k, v) = (k.slice(0..<end).float32(), v.slice(0..<end).float32())
      let blocks = AttentionBlocks(q: q, k: k, v: v, rows: rows, chain: chain, shape: shape, precision)
      return blocks.apply(sinks: sinks, logSums: logSums)
    }
    let keys = RowKeys(rows.map { (Int($0.prefixCount), chain.count) }, width: shape.keyWidth, dtype: k.dtype)
    for (i, row) in rows.enumerated() {
      let first = Int(row.prefixStart)
      keys.setPrefix(i, k.address(ofRow: first), v.address(ofRow: first))
      for (j, step) in chain.enumerated() {
        let own = Int(step.row[i])
        keys.setSingle(i, j, step.k.address(ofRow: own), step.v.address(ofRow: own))
      }
    }
    return withExtendedLifetime((k, v, chain)) { keys.attend(q, shape, sinks: sinks, logSums: logSums) }
  }

  /// Attention of a tree of tokens that follow one sequence, row by row: row r sees the first `prefix` keys and then
  /// those of its ancestors and itself. Its bits are those of the row in a plain sequence, if the keys are.
  ///
  /// - Parameters:
  ///   - q: [R, heads · d]
  ///   - k: [N, kvHeads · d]
  ///   - v: as k
  ///   - prefix: keys that every row sees
  ///   - paths: the keys that each row of q sees after the prefix, in order of position: 0 is the first one there
  ///   - shape: heads and their width
  package static func tree(
    _ q: Tensor, _ k: Tensor, _ v: Tensor, prefix: Int, paths: [[Int]], shape: AttentionShape
  ) -> Tensor {
    tree(q, k, v, keys: paths.map { SeenKeys(prefix: 0..<prefix, path: $0.map { prefix + $0 }) }, shape: shape)
  }

  /// The same where each row has keys of its own.
  ///
  /// - Parameters:
  ///   - keys: the keys that each row of q sees
  ///   - sinks: as in `apply`
  package static func tree(
    _ q: Tensor, _ k: Tensor, _ v: Tensor, keys seen: [SeenKeys], shape: AttentionShape, sinks: Tensor? = nil
  ) -> Tensor {
    precondition(
      q.shape == [seen.count, shape.queryWidth] && k.columns == shape.keyWidth && v.dtype == k.dtype
        && seen.allSatisfy { $0.count > 0 && max($0.prefix.upperBound, ($0.path.last ?? -1) + 1) <= k.rows },
      "attention of a tree of \(seen.count) rows: queries \(q.shape), keys \(k.shape)")
    let keys = RowKeys(seen.map { ($0.prefix.count, $0.path.count) }, width: shape.keyWidth, dtype: k.dtype)
    for (row, seen) in seen.enumerated() { keys.set(row, k.address(ofRow: 0), v.address(ofRow: 0), seen) }
    return withExtendedLifetime((k, v)) { keys.attend(q, shape, sinks: sinks) }
  }

  /// Keys and values that an earlier draft step made, and the row of them that each query row owns.
  package struct ChainStep {
    package let k: Tensor  // [R_j, kvHeads · d]
    package let v: Tensor
    package let row: [Int32]  // [R]

    package init(k: Tensor, v: Tensor, row: [Int32]) {
      self.k = k
      self.v = v
      self.row = row
    }
  }
}
