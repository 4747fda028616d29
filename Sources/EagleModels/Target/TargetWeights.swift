import EagleStorage
import EagleTensor

/// Weights of one decoder layer. Matrices are [outputs, inputs] as stored; norms and biases are float32.
struct TargetLayer {
  let inputNorm: Tensor  // [H]
  let query, key, value: Tensor  // [heads · d, H], [kvHeads · d, H] twice
  let queryBias, keyBias, valueBias: Tensor?
  let queryNorm, keyNorm: Tensor?  // [d]
  let output: Tensor  // [H, heads · d]
  let postNorm: Tensor  // [H]
  let gate, up: Tensor  // [M, H]
  let down: Tensor  // [H, M]

  func quantized() -> TargetLayer {
    TargetLayer(
      inputNorm: inputNorm, query: query.quantized(), key: key.quantized(), value: value.quantized(),
      queryBias: queryBias, keyBias: keyBias, valueBias: valueBias, queryNorm: queryNorm, keyNorm: keyNorm,
      output: output.quantized(), postNorm: postNorm, gate: gate.quantized(), up: up.quantized(),
      down: down.quantized())
  }
}

/// How the matrices of a model are kept for decoding.
public enum WeightFormat: String, Sendable, CaseIterable, Codable {
  /// As they lie in the file, mostly bfloat16.
  case stored
  /// 8 bits and a scale for each row: half the memory traffic, and small errors.
  case int8
}

/// All weights of a target, mapped from its folder. Tensor names appear only here.
struct TargetWeights {
  let embedding: Tensor  // [V, H]
  let layers: [TargetLayer]
  let norm: Tensor  // [H]
  let head: Tensor  // [V, H]

  /// The same weights with 8-bit matrices; the embedding, of which single rows are read, stays.
  func quantized() -> TargetWeights {
    TargetWeights(embedding: embedding, layers: layers.map { $0.quantized() }, norm: norm, head: head.quantized())
  }

  func first(_ count: Int) -> TargetWeights {
    TargetWeights(embedding: embedding, layers: Array(layers.prefix(count)), norm: norm, head: head)
  }

  private init(embedding: Tensor, layers: [TargetLayer], norm: Tensor, head: Tensor) {
    self.embedding = embedding
    self.layers = layers
    self.norm = norm
    self.head = head
  }

  init(folder: SafetensorsFolder, shape: TargetShape) throws {
    let reader = WeightReader(folder: folder)
    let (h, v) = (shape.hiddenSize, shape.vocabularySize)
    embedding = try reader.matrix("model.embed_tokens.weight", [v, h])
    // Grows with the layers that are there: config.json alone must not decide how much is allocated.
    var layers: [TargetLayer] = []
    for index in 0..<shape.layers { layers.append(try Self.layer(index, reader, shape)) }
    self.layers = layers
    norm = try reader.vector("model.norm.weight", h)
    head = shape.tiedHead ? embedding : try reader.matrix("lm_head.weight", [v, h])
    try reader.refuseNonFinite()
  }

  private static func layer(_ index: Int, _ reader: WeightReader, _ shape: TargetShape) throws -> TargetLayer {
    let name = "model.layers.\(index)"
    let (h, m, attention) = (shape.hiddenSize, shape.intermediateSize, shape.attention)
    let (q, kv, d) = (attention.queryWidth, attention.keyWidth, attention.headDimension)
    let biased = shape.family.hasAttentionBias
    let normed = shape.family.hasHeadNorms
    return TargetLayer(
      inputNorm: try reader.vector("\(name).input_layernorm.weight", h),
      query: try reader.matrix("\(name).self_attn.q_proj.weight", [q, h]),
      key: try reader.matrix("\(name).self_attn.k_proj.weight", [kv, h]),
      value: try reader.matrix("\(name).self_attn.v_proj.weight", [kv, h]),
      queryBias: biased ? try reader.vector("\(name).self_attn.q_proj.bias", q) : nil,
      keyBias: biased ? try reader.vector("\(name).self_attn.k_proj.bias", kv) : nil,
      valueBias: biased ? try reader.vector("\(name).self_attn.v_proj.bias", kv) : nil,
      queryNorm: normed ? try reader.vector("\(name).self_attn.q_norm.weight", d) : nil,
      keyNorm: normed ? try reader.vector("\(name).self_attn.k_norm.weight", d) : nil,
      output: try reader.matrix("\(name).self_attn.o_proj.weight", [h, q]),
      postNorm: try reader.vector("\(name).post_attention_layernorm.weight", h),
      gate: try reader.matrix("\(name).mlp.gate_proj.weight", [m, h]),
      up: try reader.matrix("\(name).mlp.up_proj.weight", [m, h]),
      down: try reader.matrix("\(name).mlp.down_proj.weight", [h, m]))
  }
}
