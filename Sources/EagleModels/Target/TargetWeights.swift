import EagleStorage
import EagleTensor

/// The format in which the matrices of a model are kept for decoding.
public enum WeightFormat: String, Sendable, CaseIterable, Codable {
  /// The format of the file, mostly bfloat16.
  case stored
  /// 8 bits and a scale for each row: half the memory traffic, and small errors.
  case int8
}

/// All weights of a target, mapped from its folder. Tensor names appear only here.
struct TargetWeights {
  let embedding: Tensor  // [V, H]
  let layers: [DecoderLayer]
  let norm: Tensor  // [H]
  let head: Tensor  // [V, H]
  /// The matrices of the layers and the head, in the order of a pass.
  let matrices: [WeightGroup]

  /// The same weights with 8-bit matrices. The embedding stays, since single rows of it are read.
  func quantized() -> TargetWeights {
    TargetWeights(embedding: embedding, layers: layers.map { $0.quantized() }, norm: norm, head: head.quantized())
  }

  /// The first layers and all else.
  func first(_ count: Int) -> TargetWeights {
    TargetWeights(embedding: embedding, layers: Array(layers.prefix(count)), norm: norm, head: head)
  }

  init(embedding: Tensor, layers: [DecoderLayer], norm: Tensor, head: Tensor) {
    self.embedding = embedding
    self.layers = layers
    self.norm = norm
    self.head = head
    matrices = layers.flatMap(\.matrices) + [WeightGroup(head)]
  }

  init(folder: SafetensorsFolder, shape: TargetShape) throws {
    let reader = WeightReader(folder: folder)
    let (h, v) = (shape.hiddenSize, shape.vocabularySize)
    let embedding = try reader.matrix("model.embed_tokens.weight", [v, h])
    // Grows with the layers that are there: config.json alone must not decide how much is allocated.
    var layers: [DecoderLayer] = []
    for index in 0..<shape.layers {
      layers.append(try DecoderLayer(reader, "model.layers.\(index)", shape))
    }
    self.init(
      embedding: embedding, layers: layers, norm: try reader.vector("model.norm.weight", h),
      head: shape.tiedHead ? embedding : try reader.matrix("lm_head.weight", [v, h]))
    try reader.refuseNonFinite()
  }

  /// Bytes of the matrices.
  var matrixBytes: Int { matrices.reduce(0) { $0 + $1.byteCount } }

  /// Reads the matrices on all threads, in the order of a pass, and returns the sum of their words.
  func readMatrices() -> UInt64 {
    matrices.indices.reduce(0) { sum, index in
      if index + 1 < matrices.count { matrices[index + 1].prefetch() }
      return sum &+ matrices[index].read()
    }
  }
}

extension DecoderLayer {
  /// The weights under `name`, checked against the shape.
  fileprivate init(_ reader: WeightReader, _ name: String, _ shape: TargetShape) throws {
    let (h, m, attention) = (shape.hiddenSize, shape.intermediateSize, shape.attention)
    let (q, kv, d) = (attention.queryWidth, attention.keyWidth, attention.headDimension)
    let parts: [(name: String, outputs: Int)] = [("q", q), ("k", kv), ("v", kv)]
    func headNorm(_ part: String) throws -> Tensor? {
      shape.family.hasHeadNorms ? try reader.vector("\(name).self_attn.\(part)_norm.weight", d) : nil
    }
    let inputNorm = try reader.vector("\(name).input_layernorm.weight", h)
    let matrices = try parts.map { try reader.matrix("\(name).self_attn.\($0.name)_proj.weight", [$0.outputs, h]) }
    let biases = try parts.map {
      shape.family.hasAttentionBias ? try reader.vector("\(name).self_attn.\($0.name)_proj.bias", $0.outputs) : nil
    }
    self.init(
      inputNorm: inputNorm, projections: WeightGroup(zip(matrices, biases).map { ($0, $1) }),
      queryNorm: try headNorm("q"), keyNorm: try headNorm("k"),
      output: WeightGroup(try reader.matrix("\(name).self_attn.o_proj.weight", [h, q])),
      postNorm: try reader.vector("\(name).post_attention_layernorm.weight", h),
      gateAndUp: WeightGroup([
        (try reader.matrix("\(name).mlp.gate_proj.weight", [m, h]), nil),
        (try reader.matrix("\(name).mlp.up_proj.weight", [m, h]), nil),
      ]),
      down: WeightGroup(try reader.matrix("\(name).mlp.down_proj.weight", [h, m])))
  }
}
