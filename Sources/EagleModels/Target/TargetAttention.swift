import EagleTensor

/// Causal attention of the batch rows of several sequences, with and without caches.
struct TargetAttention {
  let shape: AttentionShape
  let segments: [Segment]
  let layer: Int
  let mode: MatmulMode

  func apply(_ q: Tensor, _ k: Tensor, _ v: Tensor) -> Tensor {
    guard segments.contains(where: { $0.cache != nil }) else {
      return Attention.apply(
        q, k, v, rows: segments.flatMap { rows(of: $0, at: $0.rows.lowerBound) }, shape: shape, mode)
    }
    if segments.count == 1 { return attended(segments[0], q, k, v) }
    let out = Tensor(q.shape)
    for segment in segments { Elementwise.copy(attended(segment, q, k, v), into: out.slice(segment.rows)) }
    return out
  }

  private func attended(_ segment: Segment, _ q: Tensor, _ k: Tensor, _ v: Tensor) -> Tensor {
    let queries = q.slice(segment.rows)
    guard let cache = segment.cache else {
      return Attention.apply(
        queries, k.slice(segment.rows), v.slice(segment.rows), rows: rows(of: segment, at: 0), shape: shape, mode)
    }
    cache.write(layer, k, v, rows: segment.rows)
    let cached = cache.entries(of: layer)
    if let tree = segment.tree, !tree.isChain {
      return Attention.tree(queries, cached.k, cached.v, prefix: cache.count, paths: tree.paths, shape: shape)
    }
    return Attention.apply(queries, cached.k, cached.v, rows: rows(of: segment, at: 0), shape: shape, mode)
  }

  /// The keys of each new token: the earlier tokens of its sequence and itself. They start at row `first` of the key
  /// tensor.
  private func rows(of segment: Segment, at first: Int) -> [AttentionRow] {
    (0..<segment.rows.count).map {
      AttentionRow(prefixStart: Int32(first), prefixCount: Int32(segment.firstPosition + $0 + 1))
    }
  }
}
