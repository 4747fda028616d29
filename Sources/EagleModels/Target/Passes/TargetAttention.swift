import EagleTensor

/// Causal attention of the batch rows of several sequences, with and without caches.
struct TargetAttention {
  let layer: LayerAttention
  let segments: [Segment]
  let mode: MatmulMode

  private var shape: AttentionShape { layer.shape.attention }

  func apply(_ q: Tensor, _ k: Tensor, _ v: Tensor) -> Tensor {
    guard segments.contains(where: { $0.cache != nil }) else {
      return Attention.apply(
        q, k, v, rows: segments.flatMap { rows(of: $0, at: $0.rows.lowerBound) }, shape: shape, sinks: layer.sinks,
        mode)
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
        queries, k.slice(segment.rows), v.slice(segment.rows), rows: rows(of: segment, at: 0), shape: shape,
        sinks: layer.sinks, mode)
    }
    cache.write(layer.index, k, v, rows: segment.rows)
    let cached = cache.entries(of: layer.index)
    if segment.branches {
      let seen = segment.rows.indices.map {
        segment.seen($0 - segment.rows.lowerBound, window: layer.shape.window).moved(by: -cached.first)
      }
      return Attention.tree(queries, cached.k, cached.v, keys: seen, shape: shape, sinks: layer.sinks)
    }
    return Attention.apply(
      queries, cached.k, cached.v, rows: rows(of: segment, at: -cached.first), shape: shape, sinks: layer.sinks, mode)
  }

  /// The keys of each new token: the earlier tokens of its sequence and itself, or the window of these. The sequence
  /// starts at row `first` of the key tensor.
  private func rows(of segment: Segment, at first: Int) -> [AttentionRow] {
    (0..<segment.rows.count).map {
      let prefix = segment.seen($0, window: layer.shape.window).prefix
      return AttentionRow(prefixStart: Int32(first + prefix.lowerBound), prefixCount: Int32(prefix.count))
    }
  }
}
