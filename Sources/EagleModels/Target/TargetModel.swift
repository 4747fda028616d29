import EagleCore
import EagleStorage
import EagleTensor

// R rows of all sequences end to end · H hidden · V vocabulary.

/// One sequence among the rows of a forward pass.
public struct Segment {
  /// Its rows, in order of position; those of a tree with each parent before its children.
  public let rows: Range<Int>
  /// Earlier rows of the sequence; the new ones are appended. Without a cache the sequence starts at position 0.
  public let cache: KVCache?
  /// Of rows that branch: how they hang together.
  let tree: RowTree?

  public init(rows: Range<Int>, cache: KVCache? = nil) {
    self.rows = rows
    self.cache = cache
    tree = nil
  }

  /// Rows that form a tree behind the cached ones.
  public init(rows: Range<Int>, cache: KVCache, tree: RowTree) {
    precondition(tree.count == rows.count, "a tree of \(tree.count) for \(rows.count) rows")
    self.rows = rows
    self.cache = cache
    self.tree = tree
  }

  var firstPosition: Int { cache?.count ?? 0 }

  /// Position of its i-th row.
  func position(_ i: Int) -> Int { firstPosition + (tree.map { $0.depth[i] } ?? i) }
}

/// Rows that branch. Siblings share a position, and a row sees its ancestors and itself.
public struct RowTree: Sendable, Equatable {
  /// Row of the parent of each row, always an earlier one; -1 for the root, which is row 0.
  public let parents: [Int]
  /// Steps from the root.
  public let depth: [Int]
  /// Rows from the root to each row, itself included.
  public let paths: [[Int]]

  public init(parents: [Int]) {
    var paths: [[Int]] = []
    for (row, parent) in parents.enumerated() {
      precondition(parent < row && (parent >= 0) == (row > 0), "row \(row) of a tree hangs on row \(parent)")
      paths.append((parent < 0 ? [] : paths[parent]) + [row])
    }
    self.parents = parents
    self.paths = paths
    depth = paths.map { $0.count - 1 }
  }

  public var count: Int { parents.count }

  /// Whether no row has a sibling, so that the rows are a plain sequence.
  public var isChain: Bool { depth.last == count - 1 }
}

/// States of a forward pass.
public struct TargetStates {
  /// Outputs of the captured layers side by side, [R, 3H]; nil when none were asked for.
  public let auxHidden: Tensor?
  /// After the final norm: what the head multiplies, [R, H].
  public let lastHidden: Tensor

  public init(auxHidden: Tensor?, lastHidden: Tensor) {
    self.auxHidden = auxHidden
    self.lastHidden = lastHidden
  }
}

/// The frozen target: a decoder of the Llama, Qwen2 or Qwen3 family.
public final class TargetModel: @unchecked Sendable {
  public let shape: TargetShape
  public let path: String
  /// Identifies the weights.
  public let fingerprint: String
  /// The precision of its matrix products. With 8-bit weights, which have kernels of their own, the others are in fp32.
  public let precision: ComputePrecision
  private let weights: TargetWeights
  private let decodingPass: DecodingPass
  private let rotary: Rotary

  /// Maps the weights of a Hugging Face folder. With the format `int8` its matrices are copied in 8 bits, for decoding
  /// alone.
  ///
  /// - Parameters:
  ///   - path: the folder
  ///   - format: of the matrices in memory
  ///   - precision: of their products
  /// - Throws: when a file is missing or broken, the model is none of the families, or a weight is NaN or infinite
  public init(folder path: String, format: WeightFormat = .stored, precision: ComputePrecision = .fp32) throws {
    self.path = path
    self.precision = format == .int8 ? .fp32 : precision
    shape = try TargetShape(folder: path)
    let stored = try TargetWeights(folder: SafetensorsFolder(path: path), shape: shape)
    weights = format == .int8 ? stored.quantized() : stored
    decodingPass = DecodingPass(weights, shape)
    fingerprint = try SafetensorsFolder.fingerprint(folder: path)
    rotary = Rotary(headDimension: shape.attention.headDimension, theta: shape.ropeTheta)
  }

  /// A target with seeded random bfloat16 weights, for measurements.
  package init(random shape: TargetShape, seed: UInt64, precision: ComputePrecision = .fp32) {
    path = "random weights"
    self.precision = precision
    fingerprint = "random \(seed)"
    self.shape = shape
    weights = TargetWeights(random: shape, seed: seed)
    decodingPass = DecodingPass(weights, shape)
    rotary = Rotary(headDimension: shape.attention.headDimension, theta: shape.ropeTheta)
  }

  /// The first layers of a model with its head, for measurements.
  private init(_ whole: TargetModel, layers: Int) {
    (path, precision, fingerprint, rotary) = (whole.path, whole.precision, whole.fingerprint, whole.rotary)
    var shape = whole.shape
    shape.layers = layers
    self.shape = shape
    weights = whole.weights.first(layers)
    decodingPass = DecodingPass(weights, shape)
  }

  /// The first layers and the head, as many as have `bytes` bytes together; the whole model where it has not so many.
  /// `share` of the model's bytes are in them.
  package func part(atLeast bytes: Int) -> (model: TargetModel, share: Double) {
    let (whole, head) = (weightBytes, weights.head.byteCount)
    let layer = max(1, (whole - head) / shape.layers)
    // Three at least: so many layers are captured.
    let layers = max(3, (bytes - head + layer - 1) / layer)
    guard layers < shape.layers else { return (self, 1) }
    let part = TargetModel(self, layers: layers)
    return (part, Double(part.weightBytes) / Double(whole))
  }

  /// The token embedding, [V, H], as stored.
  public var embedding: Tensor { weights.embedding }
  /// The head, [V, H], as stored.
  public var head: Tensor { weights.head }

  /// An empty cache for all layers that may grow to `capacity` rows.
  public func makeCache(capacity: Int) -> KVCache {
    KVCache(layers: shape.layers, shape: shape.attention, capacity: capacity)
  }

  /// Bytes that a token takes in a cache: keys and values of all layers, float32.
  public var cacheBytesPerToken: Int { KVCache.rowBytes(layers: shape.layers, width: shape.attention.keyWidth) }

  /// The states of prompts or whole texts: GEMMs over many rows.
  ///
  /// - Parameters:
  ///   - ids: one token id a row
  ///   - segments: which rows belong to which sequence; together they cover all rows in order
  ///   - captureLayers: 0-based layers whose outputs are wanted, increasing
  public func prefill(_ ids: [Int32], segments: [Segment], captureLayers: [Int]) -> TargetStates {
    forward(ids, segments: segments, captureLayers: captureLayers, .gemm(precision))
  }

  /// The states of a few new tokens: batch-invariant, so that a row's bits do not depend on the other rows.
  ///
  /// - Parameters:
  ///   - ids: one token id a row
  ///   - segments: which rows belong to which sequence; together they cover all rows in order
  ///   - captureLayers: 0-based layers whose outputs are wanted, increasing
  public func decode(_ ids: [Int32], segments: [Segment], captureLayers: [Int]) -> TargetStates {
    forward(ids, segments: segments, captureLayers: captureLayers, .batchInvariant(precision))
  }

  /// The kinds of a forward pass: `prefill` and `decode`.
  package enum PassKind: Sendable { case prefill, decode }

  /// A forward pass of this kind.
  package func run(_ kind: PassKind, _ ids: [Int32], segments: [Segment], captureLayers: [Int]) -> TargetStates {
    switch kind {
    case .prefill: prefill(ids, segments: segments, captureLayers: captureLayers)
    case .decode: decode(ids, segments: segments, captureLayers: captureLayers)
    }
  }

  private func forward(_ ids: [Int32], segments: [Segment], captureLayers: [Int], _ mode: MatmulMode) -> TargetStates {
    let hidden = shape.hiddenSize
    let x = Rows.gather(weights.embedding, ids)
    let aux = captureLayers.isEmpty ? nil : Tensor([ids.count, captureLayers.count * hidden])
    let table = rotary.table(positions: positions(segments, count: ids.count))
    func finished(_ layer: Int) {
      if let slot = captureLayers.firstIndex(of: layer) { copy(x, into: aux!, column: slot * hidden) }
    }
    if mode.isBatchInvariant, segments.allSatisfy({ $0.cache != nil }) {
      decodingPass.run(x, segments, table, mode, finished: finished)
    } else {
      for (index, layer) in weights.layers.enumerated() {
        attend(x, layer, index, segments, table, mode)
        feedForward(x, layer, mode)
        finished(index)
      }
    }
    for segment in segments { segment.cache?.advance(segment.rows.count) }
    return TargetStates(auxHidden: aux, lastHidden: RMSNorm.apply(x, weights.norm, epsilon: shape.normEpsilon))
  }

  /// Logits over the whole vocabulary of states after the final norm: [R, V]. Batch-invariant, as `decode`.
  public func logits(_ lastHidden: Tensor) -> Tensor {
    Matmul.forward(lastHidden, weights.head, .batchInvariant(precision))
  }

  /// The precision in which this processor computes `decode` and `logits`.
  public var decodingPrecision: ComputePrecision {
    MatmulMode.batchInvariant(precision).roundsRows ? .bf16 : .fp32
  }

  /// Bytes of the matrices that a batch-invariant pass reads.
  public var weightBytes: Int { decodingPass.weightBytes }

  /// Reads those matrices on all threads, in the order of a pass, and nothing else: a pass cannot be faster. Returns a
  /// sum over them.
  package func readWeights() -> UInt64 { decodingPass.readWeights() }

  private func positions(_ segments: [Segment], count: Int) -> [Int32] {
    var positions = [Int32](repeating: 0, count: count)
    for segment in segments {
      for (i, row) in segment.rows.enumerated() { positions[row] = Int32(segment.position(i)) }
    }
    return positions
  }

  /// x += o(attention(q, k, v)) of the normed x.
  private func attend(
    _ x: Tensor, _ layer: TargetLayer, _ index: Int, _ segments: [Segment], _ table: Rotary.Table, _ mode: MatmulMode
  ) {
    let h = RMSNorm.apply(x, layer.inputNorm, epsilon: shape.normEpsilon)
    let projected = Matmul.forward(
      h, [(layer.query, layer.queryBias), (layer.key, layer.keyBias), (layer.value, layer.valueBias)], mode)
    let (q, k) = (headNormed(projected[0], layer.queryNorm), headNormed(projected[1], layer.keyNorm))
    rotary.rotate(q, table)
    rotary.rotate(k, table)
    let attended = TargetAttention(shape: shape.attention, segments: segments, layer: index, mode: mode)
      .apply(q, k, projected[2])
    Matmul.accumulate(attended, layer.output, into: x, mode)
  }

  /// x += down(silu(gate(h)) · up(h)) of the normed x.
  private func feedForward(_ x: Tensor, _ layer: TargetLayer, _ mode: MatmulMode) {
    let h = RMSNorm.apply(x, layer.postNorm, epsilon: shape.normEpsilon)
    let projected = Matmul.forward(h, [(layer.gate, nil), (layer.up, nil)], mode)
    Matmul.accumulate(Elementwise.swiglu(projected[0], projected[1]), layer.down, into: x, mode)
  }

  /// Qwen3 norms every head of q and k.
  private func headNormed(_ x: Tensor, _ w: Tensor?) -> Tensor {
    guard let w else { return x }
    let d = shape.attention.headDimension
    return RMSNorm.apply(x.reshaped([x.count / d, d]), w, epsilon: shape.normEpsilon).reshaped(x.shape)
  }

  private func copy(_ x: Tensor, into aux: Tensor, column: Int) {
    let (width, stride) = (x.columns, aux.columns)
    for row in 0..<x.rows { (aux.floats + row * stride + column).update(from: x.floats + row * width, count: width) }
  }
}
