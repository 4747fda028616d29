import CEagleKernels
import EagleTensor

// R rows · H hidden · M MLP · d head dimension.

/// The layers of a target for the batch-invariant passes of decoding, whose few rows take as long as their weights take to come
/// from memory: the arithmetic of the tensor operations on addresses that are known beforehand, since allocating a tensor takes as
/// long as norming a row does.
struct DecodingPass: Sendable {
  private let shape: TargetShape
  private let layers: [Layer]
  private let head: Matrices

  /// The pass does not keep the weights alive.
  init(_ weights: TargetWeights, _ shape: TargetShape) {
    self.shape = shape
    layers = weights.layers.map(Layer.init)
    head = Matrices([(weights.head, nil)])
  }

  /// Some weights with one x, [outputs, inputs] each.
  private struct Matrices: @unchecked Sendable {
    let weights: [eagle_weights]
    let inputs: Int64
    let bytes: Int

    init(_ weights: [(w: Tensor, bias: Tensor?)]) {
      self.weights = weights.map { eagle_weights($0.w, bias: $0.bias) }
      inputs = Int64(weights[0].w.columns)
      bytes = weights.reduce(0) { $0 + $1.w.byteCount }
    }

    /// y = x w^T of each, [R, outputs], one behind the other.
    func multiply(
      _ x: eagle_activation, _ rows: Int, into y: UnsafeMutablePointer<Float>, _ room: UnsafeMutableRawPointer
    ) {
      var x = x
      (x.rows, x.k) = (Int64(rows), inputs)
      eagle_small_matmuls(&x, weights, Int64(weights.count), y, room)
    }

    /// Says that these come after the next ones.
    func expect() { eagle_weights_prefetch(weights, Int64(weights.count), inputs) }

    func read() -> UInt64 { eagle_weights_read(weights, Int64(weights.count), inputs) }
  }

  private struct Layer: @unchecked Sendable {
    let inputNorm, postNorm: UnsafeMutablePointer<Float>
    let queryNorm, keyNorm: UnsafeMutablePointer<Float>?
    let projections, output, gateAndUp, down: Matrices

    init(_ layer: TargetLayer) {
      (inputNorm, postNorm) = (layer.inputNorm.floats, layer.postNorm.floats)
      (queryNorm, keyNorm) = (layer.queryNorm?.floats, layer.keyNorm?.floats)
      projections = Matrices([
        (layer.query, layer.queryBias), (layer.key, layer.keyBias), (layer.value, layer.valueBias),
      ])
      output = Matrices([(layer.output, nil)])
      gateAndUp = Matrices([(layer.gate, nil), (layer.up, nil)])
      down = Matrices([(layer.down, nil)])
    }
  }

  /// Bytes of all matrices of the layers and of the head.
  var weightBytes: Int { matrices.reduce(0) { $0 + $1.bytes } }

  /// Reads them all on all threads, in the order of a pass, and returns the sum of their words.
  func readWeights() -> UInt64 {
    let matrices = matrices
    return matrices.indices.reduce(0) { sum, index in
      if index + 1 < matrices.count { matrices[index + 1].expect() }
      return sum &+ matrices[index].read()
    }
  }

  private var matrices: [Matrices] { layers.flatMap { [$0.projections, $0.output, $0.gateAndUp, $0.down] } + [head] }

  /// Runs x [R, H] through all layers, in place. All segments have caches.
  ///
  /// - Parameters:
  ///   - table: of the rows' positions
  ///   - products: whether rows are rounded
  ///   - finished: called behind each layer
  func run(
    _ x: Tensor, _ segments: [Segment], _ table: Rotary.Table, _ products: Products, finished: (_ layer: Int) -> Void
  ) {
    let rows = PassRows(x, segments, table, shape, products)
    for (index, layer) in layers.enumerated() {
      rows.attend(layer, index)
      rows.feedForward(layer, next: index + 1 < layers.count ? layers[index + 1].projections : head)
      finished(index)
    }
    withExtendedLifetime((x, table)) {}
  }

  /// The rows of one pass, and room for what is computed on the way.
  private final class PassRows {
    private let shape: TargetShape
    private let segments: [Segment]
    private let products: Products
    private let count: Int
    private let keys: RowKeys
    private let storage: Storage
    private let x, change, projected, attended: UnsafeMutablePointer<Float>
    private let room: UnsafeMutableRawPointer
    private let cosine, sine: UnsafeMutablePointer<Float>

    init(
      _ x: Tensor, _ segments: [Segment], _ table: Rotary.Table, _ shape: TargetShape, _ products: Products
    ) {
      var covered = 0
      for segment in segments {
        precondition(
          segment.rows.lowerBound == covered && segment.cache!.width == shape.attention.keyWidth,
          "rows \(segment.rows) with keys of \(segment.cache!.width) behind \(covered) rows")
        covered = segment.rows.upperBound
      }
      precondition(covered == x.rows, "segments of \(covered) rows for \(x.rows)")
      (self.shape, self.segments, self.products, count) = (shape, segments, products, x.rows)
      self.x = x.floats
      (cosine, sine) = (table.cosine.floats, table.sine.floats)
      keys = RowKeys(
        segments.flatMap { segment in segment.rows.indices.map { segment.keys($0 - segment.rows.lowerBound) } },
        width: shape.attention.keyWidth)
      let (hidden, mlp, query) = (shape.hiddenSize, shape.intermediateSize, shape.attention.queryWidth)
      let widest = max(query + 2 * shape.attention.keyWidth, 2 * mlp)
      let productsRoom = Int(eagle_small_matmuls_scratch(Int64(count), Int64(max(hidden, mlp, query))))
      // Each begins with a cache line.
      let sizes = [hidden, widest, query].map { ($0 * x.rows * DType.float32.size + 63) / 64 * 64 }
      storage = Storage(byteCount: sizes.reduce(0, +) + max(productsRoom, keys.scratchBytes(shape.attention)))
      let base = storage.base
      change = base.assumingMemoryBound(to: Float.self)
      projected = (base + sizes[0]).assumingMemoryBound(to: Float.self)
      attended = (base + sizes[0] + sizes[1]).assumingMemoryBound(to: Float.self)
      room = base + sizes[0] + sizes[1] + sizes[2]
    }

    /// x += o(attention(q, k, v)) of the normed x.
    func attend(_ layer: Layer, _ index: Int) {
      let attention = shape.attention
      layer.output.expect()
      layer.projections.multiply(normed(layer.inputNorm), count, into: projected, room)
      let (q, k) = (projected, projected + count * attention.queryWidth)
      let v = k + count * attention.keyWidth
      turn(q, heads: attention.heads, layer.queryNorm)
      turn(k, heads: attention.kvHeads, layer.keyNorm)
      cache(index, k, v)
      keys.attend(q, attention, into: attended, scratch: room)
      layer.gateAndUp.expect()
      layer.output.multiply(eagle_activation(attended, products), count, into: change, room)
      add()
    }

    /// x += down(silu(gate(h)) · up(h)) of the normed x.
    func feedForward(_ layer: Layer, next: Matrices) {
      layer.down.expect()
      layer.gateAndUp.multiply(normed(layer.postNorm), count, into: projected, room)
      next.expect()
      let (gate, up) = (projected, projected + count * shape.intermediateSize)
      layer.down.multiply(eagle_activation(gate, up: up, products), count, into: change, room)
      add()
    }

    private func normed(_ w: UnsafePointer<Float>) -> eagle_activation {
      eagle_activation(x, norm: w, epsilon: shape.normEpsilon, products)
    }

    /// Norms the heads, where the family does, and turns them to their positions.
    private func turn(_ x: UnsafeMutablePointer<Float>, heads: Int, _ w: UnsafeMutablePointer<Float>?) {
      let d = shape.attention.headDimension
      if let w {
        eagle_rms_norm(x, Int64(d), w, shape.normEpsilon, x, Int64(d), nil, Int64(count * heads), Int64(d))
      }
      eagle_rotary(x, Int64(heads * d), cosine, sine, 1, Int64(count), Int64(heads), Int64(d))
    }

    /// Puts keys and values behind those of their sequences, and notes where each row finds its own.
    private func cache(_ layer: Int, _ k: UnsafeMutablePointer<Float>, _ v: UnsafeMutablePointer<Float>) {
      for segment in segments {
        let cache = segment.cache!
        cache.write(layer, k, v, rows: segment.rows)
        let start = cache.start(of: layer)
        for (i, row) in segment.rows.enumerated() { keys.set(row, start.k, start.v, path: segment.path(i)) }
      }
    }

    private func add() { eagle_accumulate(change, x, Int64(count * shape.hiddenSize)) }
  }
}

extension Segment {
  /// How many keys the i-th row of a cached sequence sees: first the prefix, then those that lie apart.
  fileprivate func keys(_ i: Int) -> (prefix: Int, single: Int) {
    branches ? (firstPosition, tree!.paths[i].count) : (firstPosition + i + 1, 0)
  }

  /// Places behind the cached rows of those that lie apart.
  fileprivate func path(_ i: Int) -> [Int] { branches ? tree!.paths[i] : [] }

  private var branches: Bool { tree.map { !$0.isChain } ?? false }
}
