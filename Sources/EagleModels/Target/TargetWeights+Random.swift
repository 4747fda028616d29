import EagleTensor

extension TargetWeights {
  /// Matrices of small random numbers, norms 1, no biases.
  init(random shape: TargetShape, seed: UInt64) {
    var source = RandomMatrices(seed: seed)
    let (h, m, attention) = (shape.hiddenSize, shape.intermediateSize, shape.attention)
    let (q, kv, d) = (attention.queryWidth, attention.keyWidth, attention.headDimension)
    let biased = shape.family.hasAttentionBias
    let headNorm = shape.family.hasHeadNorms ? Tensor.filled([d], with: 1) : nil
    let embedding = source.next([shape.vocabularySize, h])
    let layers = (0..<shape.layers).map { _ in
      // In the order in which the matrices are sampled.
      let (query, key, value) = (source.next([q, h]), source.next([kv, h]), source.next([kv, h]))
      let (output, gate, up, down) = (
        source.next([h, q]), source.next([m, h]), source.next([m, h]), source.next([h, m])
      )
      return DecoderLayer(
        inputNorm: .filled([h], with: 1),
        projections: WeightGroup([
          (query, biased ? .zeros([q]) : nil), (key, biased ? .zeros([kv]) : nil), (value, biased ? .zeros([kv]) : nil),
        ]), queryNorm: headNorm, keyNorm: headNorm, output: WeightGroup(output), postNorm: .filled([h], with: 1),
        gateAndUp: WeightGroup([(gate, nil), (up, nil)]), down: WeightGroup(down))
    }
    self.init(
      embedding: embedding, layers: layers, norm: .filled([h], with: 1),
      head: shape.tiedHead ? embedding : source.next([shape.vocabularySize, h]))
  }
}

/// Fills large matrices fast: each takes its values from one random block, starting at another offset.
private struct RandomMatrices {
  private let block: Tensor  // bfloat16
  private var random: RandomSource

  init(seed: UInt64) {
    random = RandomSource(seed: seed, purpose: "random target")
    block = Tensor.normal([1 << 20], deviation: 0.02, using: &random).bfloat16()
  }

  mutating func next(_ shape: [Int]) -> Tensor {
    let matrix = Tensor(shape, dtype: .bfloat16)
    var (from, to) = (Int.random(in: 0..<block.count, using: &random), 0)
    while to < matrix.count {
      let n = min(block.count - from, matrix.count - to)
      (matrix.bfloats + to).update(from: block.bfloats + from, count: n)
      (from, to) = (0, to + n)
    }
    return matrix
  }
}
