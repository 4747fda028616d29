import EagleTensor

// R batch rows · d head dimension.

/// Float32 activations [R, width], dense, in a buffer that outlives them.
struct BufferActivations {
  let base: UnsafeMutablePointer<Float>
  let width: Int
}

/// The products of a group of weights, one after the other in a buffer.
struct BufferProducts: Collection {
  let base: UnsafeMutablePointer<Float>
  let group: WeightGroup
  let rowCount: Int  // R

  var startIndex: Int { 0 }
  var endIndex: Int { group.widths.count }
  func index(after i: Int) -> Int { i + 1 }

  subscript(i: Int) -> BufferActivations {
    let before = group.widths[..<i].reduce(0, +)
    return BufferActivations(base: base + rowCount * before, width: group.widths[i])
  }
}

/// The buffers of one pass over R rows, in one allocation.
private struct PassBuffers {
  private let storage: Storage
  /// What a matrix adds to the residual stream, [R, H].
  let update: UnsafeMutablePointer<Float>
  /// Projections: q, k and v, or gate and up.
  let projected: UnsafeMutablePointer<Float>
  /// Results of attention, [R, heads · d].
  let attended: UnsafeMutablePointer<Float>
  let scratch: UnsafeMutableRawPointer

  /// - Parameter attentionScratch: bytes that attention needs
  init(_ shape: TargetShape, rows: Int, attentionScratch: Int) {
    let (hidden, query) = (shape.hiddenSize, shape.attention.queryWidth)
    let mlp = shape.layerShapes.map { $0.feedForward.experts == nil ? $0.feedForward.intermediateSize : 0 }.max() ?? 0
    let experts = shape.layerShapes.compactMap { $0.feedForward.experts?.count }.max() ?? 0
    let widest = max(query + 2 * shape.attention.keyWidth, 2 * mlp, experts)
    // Each begins at a cache line.
    let sizes = [hidden, widest, query].map { ($0 * rows * DType.float32.size + 63) / 64 * 64 }
    let matmulScratch = WeightGroup.scratchBytes(rows: rows, inputs: max(hidden, mlp, query))
    storage = Storage(byteCount: sizes.reduce(0, +) + max(matmulScratch, attentionScratch))
    let base = storage.base
    update = base.assumingMemoryBound(to: Float.self)
    projected = (base + sizes[0]).assumingMemoryBound(to: Float.self)
    attended = (base + sizes[0] + sizes[1]).assumingMemoryBound(to: Float.self)
    scratch = base + sizes[0] + sizes[1] + sizes[2]
  }
}

/// The operations of a decoder layer for the batch-invariant passes of decoding. With their few rows, such passes take
/// as long as reading the weights from memory.
///
/// The arithmetic is that of `TensorOperations` with a batch-invariant mode, bit for bit. All buffers are allocated
/// once for a pass, since allocating a tensor takes as long as norming a row does: what `multiply` and `attention`
/// return is overwritten by their next call. All segments have caches.
final class BufferOperations: LayerOperations {
  private let shape: TargetShape
  private let segments: [Segment]
  private let tables: RotaryTables
  private let mode: MatmulMode
  private let rowCount: Int  // R
  /// The keys of the rows in layers with each window.
  private let keys: [Int?: RowKeys]
  /// The matrices in the order of the pass, and how many are multiplied so far.
  private let matrices: [WeightGroup]
  private var multiplied = 0

  private let buffers: PassBuffers

  /// - Parameters:
  ///   - matrices: all that the pass multiplies by, in order, and the one after them, which is prefetched
  ///   - tables: cosines and sines of the rows' positions
  init(
    _ shape: TargetShape, _ segments: [Segment], matrices: [WeightGroup], tables: RotaryTables, mode: MatmulMode
  ) {
    (self.shape, self.segments, self.matrices) = (shape, segments, matrices)
    (self.tables, self.mode) = (tables, mode)
    rowCount = segments.last?.rows.upperBound ?? 0
    keys = Dictionary(
      uniqueKeysWithValues: Set(shape.layerShapes.map(\.window)).map { window in
        (window, Self.keys(segments, window: window, width: shape.attention.keyWidth))
      })
    let scratch = keys.values.map { $0.scratchBytes(shape.attention) }.max() ?? 0
    buffers = PassBuffers(shape, rows: rowCount, attentionScratch: scratch)
    checkSegments()
  }

  private static func keys(_ segments: [Segment], window: Int?, width: Int) -> RowKeys {
    let counts = segments.flatMap { segment in
      (0..<segment.rows.count).map { i in
        let seen = segment.seen(i, window: window)
        return (prefix: seen.prefix.count, single: seen.path.count)
      }
    }
    return RowKeys(counts, width: width, dtype: segments.first?.cache?.dtype(of: 0) ?? .float32)
  }

  private func checkSegments() {
    var covered = 0
    for segment in segments {
      precondition(
        segment.rows.lowerBound == covered && segment.cache != nil
          && segment.cache?.dtype(of: 0) == segments[0].cache?.dtype(of: 0),
        "rows \(segment.rows) behind \(covered) rows, without a cache, or with one of another type")
      covered = segment.rows.upperBound
    }
  }

  func operand(_ x: BufferActivations) -> SmallMatmulInput { SmallMatmulInput(x.base, mode) }

  func norm(_ x: BufferActivations, _ w: Tensor) -> SmallMatmulInput {
    SmallMatmulInput(norm: x.base, weight: w.floats, epsilon: shape.normEpsilon, mode)
  }

  func gated(_ gate: BufferActivations, up: BufferActivations, _ activation: GateActivation) -> SmallMatmulInput {
    SmallMatmulInput(gate: gate.base, up: up.base, activation, mode)
  }

  func multiply(_ x: SmallMatmulInput, _ group: WeightGroup) -> BufferProducts {
    multiply(x, group, into: buffers.projected)
    return BufferProducts(base: buffers.projected, group: group, rowCount: rowCount)
  }

  func add(_ x: SmallMatmulInput, _ group: WeightGroup, _ update: ResidualUpdate, to residual: BufferActivations) {
    multiply(x, group, into: buffers.update)
    add(buffers.update, update, to: residual)
  }

  /// Experts work on tensors: reading their weights from memory takes far longer than allocating a tensor.
  func add(
    _ experts: Experts, router: BufferActivations, of x: SmallMatmulInput, _ update: ResidualUpdate,
    to residual: BufferActivations
  ) {
    let (rows, logits) = (Tensor([rowCount, residual.width]), Tensor([rowCount, router.width]))
    x.materialize(rows: rowCount, into: rows)
    logits.floats.update(from: router.base, count: logits.count)
    let y = experts.apply(rows, logits: logits, mode)
    withExtendedLifetime(y) { add(y.floats, update, to: residual) }
  }

  private func add(_ y: UnsafeMutablePointer<Float>, _ update: ResidualUpdate, to residual: BufferActivations) {
    if let norm = update.norm { RMSNorm.apply(inPlace: y, rows: rowCount, norm, epsilon: shape.normEpsilon) }
    Elementwise.accumulate(y, times: update.scale, into: residual.base, count: rowCount * residual.width)
  }

  private func multiply(_ x: SmallMatmulInput, _ group: WeightGroup, into y: UnsafeMutablePointer<Float>) {
    multiplied += 1
    matrices[multiplied].prefetch()
    group.multiply(x, rows: rowCount, into: y, scratch: buffers.scratch)
  }

  func headNorm(_ x: BufferActivations, _ w: Tensor?) -> BufferActivations {
    guard let w else { return x }
    RMSNorm.apply(inPlace: x.base, rows: rowCount * x.width / w.count, w, epsilon: shape.normEpsilon)
    return x
  }

  func rotate(_ x: BufferActivations, _ rotary: RotaryShape?, isQuery: Bool) -> BufferActivations {
    guard let rotary else { return x }
    let (embedding, table) = tables.table(rotary, isQuery: isQuery)
    embedding.rotate(x.base, heads: x.width / shape.attention.headDimension, table)
    return x
  }

  func attention(
    _ q: BufferActivations, _ k: BufferActivations, _ v: BufferActivations, _ layer: LayerAttention
  ) -> BufferActivations {
    guard let keys = keys[layer.shape.window] else { preconditionFailure("no keys for layer \(layer.index)") }
    for segment in segments { cache(segment, layer, keys, k.base, v.base) }
    keys.attend(
      q.base, layer.shape.attention, sinks: layer.sinks, into: buffers.attended, scratch: buffers.scratch)
    return BufferActivations(base: buffers.attended, width: q.width)
  }

  /// Appends a segment's keys and values to its cache, and records the addresses of the keys that each row sees.
  private func cache(
    _ segment: Segment, _ layer: LayerAttention, _ keys: RowKeys, _ k: UnsafePointer<Float>,
    _ v: UnsafePointer<Float>
  ) {
    let cache = segment.cache!
    cache.write(layer.index, k, v, rows: segment.rows)
    let start = cache.start(of: layer.index)
    for (i, row) in segment.rows.enumerated() {
      keys.set(row, start.k, start.v, segment.seen(i, window: layer.shape.window).moved(by: -start.first))
    }
  }
}
