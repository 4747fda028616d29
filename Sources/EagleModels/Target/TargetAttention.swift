import EagleTensor

/// Causal attention of the rows of several sequences, with and without caches.
struct TargetAttention {
  let shape: AttentionShape
  let segments: [Segment]
  let layer: Int
  let products: Products

  func apply(_ q: Tensor, _ k: Tensor, _ v: Tensor) -> Tensor {
    guard segments.contains(where: { $0.cache != nil }) else {
      return Attention.apply(
        q, k, v, rows: segments.flatMap { rows(of: $0, at: $0.rows.lowerBound) }, shape: shape, products)
    }
    if segments.count == 1 { return attended(segments[0], q, k, v) }
    let out = Tensor(q.shape)
    let single = segments.filter { $0.rows.count == 1 && $0.cache != nil }
    if single.count > 1 { attendTogether(single, q, k, v, out) }
    for segment in segments where single.count <= 1 || segment.rows.count > 1 || segment.cache == nil {
      Elementwise.copy(attended(segment, q, k, v), into: out.slice(segment.rows))
    }
    return out
  }

  /// Sequences that get one row each, as in decoding many of them.
  private func attendTogether(_ segments: [Segment], _ q: Tensor, _ k: Tensor, _ v: Tensor, _ out: Tensor) {
    let queries = Tensor([segments.count, q.columns])
    for (i, segment) in segments.enumerated() {
      segment.cache!.write(layer, k, v, rows: segment.rows)
      Elementwise.copy(q.slice(segment.rows), into: queries.slice(i..<i + 1))
    }
    let keys = segments.map { segment in
      let cached = segment.cache!.rows(of: layer)
      return (k: cached.k, v: cached.v, count: segment.firstPosition + 1)
    }
    let attended = Attention.separate(queries, keys: keys, shape: shape)
    for (i, segment) in segments.enumerated() {
      Elementwise.copy(attended.slice(i..<i + 1), into: out.slice(segment.rows))
    }
  }

  private func attended(_ segment: Segment, _ q: Tensor, _ k: Tensor, _ v: Tensor) -> Tensor {
    let queries = q.slice(segment.rows)
    guard let cache = segment.cache else {
      return Attention.apply(
        queries, k.slice(segment.rows), v.slice(segment.rows), rows: rows(of: segment, at: 0), shape: shape, products)
    }
    cache.write(layer, k, v, rows: segment.rows)
    let cached = cache.rows(of: layer)
    if let tree = segment.tree, !tree.isChain {
      return Attention.tree(queries, cached.k, cached.v, prefix: cache.count, paths: tree.paths, shape: shape)
    }
    return Attention.apply(queries, cached.k, cached.v, rows: rows(of: segment, at: 0), shape: shape, products)
  }

  /// Row i of a segment sees its earlier rows and itself; keys start at row `first` of the key tensor.
  private func rows(of segment: Segment, at first: Int) -> [AttentionRow] {
    (0..<segment.rows.count).map {
      AttentionRow(prefixStart: Int32(first), prefixCount: Int32(segment.firstPosition + $0 + 1))
    }
  }
}
