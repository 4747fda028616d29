import EagleTensor

extension TargetWeights {
  /// Matrices of small random numbers, norms 1, biases and sinks 0.
  init(random shape: TargetShape, format: WeightFormat, seed: UInt64) {
    var source = RandomMatrices(seed: seed, format: format.matrices)
    let h = shape.hiddenSize
    let embedding = source.stored([shape.vocabularySize, h])
    let layers = shape.layerShapes.map { DecoderLayer(random: $0, hiddenSize: h, from: &source) }
    self.init(
      embedding: embedding, layers: layers, norm: .filled([h], with: 1 / shape.logitsDivisor),
      head: source.head(of: shape, embedding, format.head))
  }
}

extension DecoderLayer {
  fileprivate init(random shape: LayerShape, hiddenSize h: Int, from source: inout RandomMatrices) {
    let (q, kv, biases) = (shape.attention.queryWidth, shape.attention.keyWidth, shape.biases)
    func bias(_ isThere: Bool, _ count: Int) -> Tensor? { isThere ? .zeros([count]) : nil }
    func norm(_ isThere: Bool, _ count: Int) -> Tensor? { isThere ? .filled([count], with: 1) : nil }
    let headNorms = [q, kv].map { width -> Tensor? in
      let isPerHead = shape.queryKeyNorm == .perHead
      return norm(shape.queryKeyNorm != .none, isPerHead ? shape.attention.headDimension : width)
    }
    let norms = BlockNorms(before: norm(shape.norms.isBefore, h), after: norm(shape.norms.isAfter, h))
    // In the order in which the matrices are sampled.
    let (query, key, value) = (source.next([q, h]), source.next([kv, h]), source.next([kv, h]))
    let output = source.next([h, q])
    self.init(
      shape: shape, attentionNorms: norms,
      projections: WeightGroup([
        (query, bias(biases.queryKeyValue, q)), (key, bias(biases.queryKeyValue, kv)),
        (value, bias(biases.queryKeyValue, kv)),
      ]), queryNorm: headNorms[0], keyNorm: headNorms[1], sinks: bias(shape.hasSinks, shape.attention.heads),
      output: WeightGroup([(output, bias(biases.output, h))]), feedForwardNorms: norms,
      feedForward: .init(random: shape, hiddenSize: h, from: &source))
  }
}

extension DecoderLayer.FeedForward {
  fileprivate init(random shape: LayerShape, hiddenSize h: Int, from source: inout RandomMatrices) {
    let (m, block) = (shape.feedForward.intermediateSize, shape.feedForward)
    func next() -> (gate: Tensor, up: Tensor, down: Tensor) {
      (source.next([m, h]), source.next([m, h]), source.next([h, m]))
    }
    func bias(_ count: Int) -> Tensor? { shape.biases.feedForward ? .zeros([count]) : nil }
    guard let experts = block.experts else {
      let (gate, up, down) = next()
      self = .dense(
        gateAndUp: WeightGroup([(gate, bias(m)), (up, bias(m))]), down: WeightGroup([(down, bias(h))]))
      return
    }
    let router = WeightGroup(source.next([experts.count, h]))
    let weights = (0..<experts.count).map { _ in
      let (gate, up, down) = next()
      return ExpertWeights(matrices: .init(gate: gate, up: up, down: down))
    }
    self = .experts(Experts(shape: experts, activation: block.activation, router: router, weights: weights))
  }
}

/// Fills large matrices fast: each takes its values from one random pattern, starting at another offset.
private struct RandomMatrices {
  private let format: DType?
  private var patterns: [DType: Tensor]
  private var random: RandomSource

  /// - Parameter format: of the matrices; nil for bfloat16
  init(seed: UInt64, format: DType?) {
    random = RandomSource(seed: seed, purpose: "random target")
    self.format = format
    patterns = [.bfloat16: Tensor.normal([1, 1 << 20], deviation: 0.02, using: &random).bfloat16()]
  }

  /// A matrix in the model's format.
  mutating func next(_ shape: [Int]) -> Tensor { matrix(shape, format?.fitting(columns: shape[1]) ?? .bfloat16) }

  /// A matrix that is not quantised.
  mutating func stored(_ shape: [Int]) -> Tensor { matrix(shape, .bfloat16) }

  mutating func head(of shape: TargetShape, _ embedding: Tensor, _ format: DType?) -> Tensor {
    guard !shape.tiedHead || format != nil else { return embedding }
    return matrix(embedding.shape, format?.fitting(columns: shape.hiddenSize) ?? .bfloat16)
  }

  private mutating func matrix(_ shape: [Int], _ dtype: DType) -> Tensor {
    let pattern = patterns[dtype] ?? patterns[.bfloat16]!.quantized(dtype)
    patterns[dtype] = pattern
    let matrix = Tensor(shape, dtype: dtype)
    let block = dtype.blockBytes
    var (from, to) = (Int.random(in: 0..<pattern.byteCount / block, using: &random) * block, 0)
    while to < matrix.byteCount {
      let n = min(pattern.byteCount - from, matrix.byteCount - to)
      (matrix.rawBytes.baseAddress! + to).copyMemory(from: pattern.rawBytes.baseAddress! + from, byteCount: n)
      (from, to) = (0, to + n)
    }
    return matrix
  }
}
