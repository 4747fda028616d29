import EagleStorage
import EagleTensor
import Foundation

// V vocabulary · H hidden · M MLP · d head dimension.

/// The format in which the matrices of a model are kept in memory. Matrices that are quantised in their file stay so.
public enum WeightFormat: String, Sendable, CaseIterable, Codable {
  /// The format of the file, mostly bfloat16.
  case stored
  /// 8 bits an element, and a scale for each 32 elements: about half the memory traffic of bfloat16, and small errors.
  case q8_0
  /// 4 bits an element, and a scale for each 32 elements.
  case q4_0
  /// 4 bits an element, with scale and minimum of each 32 elements in blocks of 256; the LM head has 6 bits.
  case q4_k

  /// The block format of matrices; nil for `stored`.
  package var matrices: DType? {
    switch self {
    case .stored: nil
    case .q8_0: .q8_0
    case .q4_0: .q4_0
    case .q4_k: .q4_K
    }
  }

  /// The block format of the LM head.
  package var head: DType? { self == .q4_k ? .q6_K : matrices }
}

/// All weights of a target, mapped from its files. Tensor names appear only here, in `LayerReader` and in `GGUF`.
struct TargetWeights {
  let embedding: Tensor  // [V, H]
  let layers: [DecoderLayer]
  /// The final norm, [H], with the divisor of logits in it.
  let norm: Tensor
  let head: Tensor  // [V, H]
  /// The matrices that every pass reads, of the layers and the head, in the order of a pass.
  let matrices: [WeightGroup]

  /// The same weights with quantised matrices. The embedding stays, since single rows of it are read.
  func quantized(_ format: WeightFormat) -> TargetWeights {
    guard let matrices = format.matrices, let headFormat = format.head else { return self }
    return TargetWeights(
      embedding: embedding, layers: layers.map { $0.quantized(matrices) }, norm: norm,
      head: head.quantized(headFormat))
  }

  /// The matrices whose rows are no whole blocks of `format`.
  ///
  /// - Parameter stored: the type that they had before they were quantised; nil for their own
  func fallbacks(_ format: WeightFormat, from stored: DType? = nil) -> FormatFallbacks {
    var fallbacks = FormatFallbacks()
    guard let matrices = format.matrices, let headFormat = format.head else { return fallbacks }
    for matrix in layers.flatMap(\.quantizable) { fallbacks.add(matrix, from: stored, to: matrices) }
    fallbacks.add(head, from: stored, to: headFormat)
    return fallbacks
  }

  /// The same weights with the first layers only.
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

  init(_ tensors: any TensorSource, shape: TargetShape) throws {
    let reader = WeightReader(tensors)
    let (h, v) = (shape.hiddenSize, shape.vocabularySize)
    let prefix = Self.prefixes.first { tensors.contains("\($0)embed_tokens.weight") } ?? Self.prefixes[0]
    let headName = Self.headNames.first(where: tensors.contains) ?? Self.headNames[0]
    let embedding = try reader.matrix("\(prefix)embed_tokens.weight", [v, h])
    let layerReader = LayerReader(reader: reader, prefix: "\(prefix)layers", facts: shape.family.facts, hiddenSize: h)
    // The array grows with the layers that are read: config.json alone must not decide how much is allocated.
    var layers: [DecoderLayer] = []
    for (index, layer) in shape.layerShapes.enumerated() { layers.append(try layerReader.layer(index, layer)) }
    let norm = try layerReader.norm("\(prefix)norm", h)
    self.init(
      embedding: embedding, layers: layers, norm: Self.scaled(norm, by: 1 / shape.logitsDivisor),
      head: shape.tiedHead ? embedding : try reader.matrix(headName, [v, h]))
    try reader.refuseNonFinite()
  }

  /// The prefix of the text model in a checkpoint: alone, or inside a vision-language one of older or newer versions.
  private static let prefixes = ["model.", "language_model.model.", "model.language_model."]
  private static let headNames = ["lm_head.weight", "language_model.lm_head.weight"]

  /// Folds the divisor of the logits into the final norm: logits are linear in the normed states.
  private static func scaled(_ norm: Tensor, by factor: Float) -> Tensor {
    if factor != 1 { Elementwise.scale(norm, by: factor) }
    return norm
  }

  /// Bytes of all matrices, all experts included.
  var storedBytes: Int {
    matrices.reduce(0) { $0 + $1.byteCount }
      + layers.compactMap(\.experts).reduce(0) { $1.weights.reduce($0) { $0 + $1.byteCount } }
  }

  /// Bytes of the matrices that a pass of one token reads.
  var matrixBytes: Int {
    matrices.reduce(0) { $0 + $1.byteCount } + layers.reduce(0) { $0 + ($1.experts?.bytesPerToken ?? 0) }
  }

  /// Reads these matrices on all threads, in the order of a pass, and returns the sum of their words.
  func readMatrices() -> UInt64 {
    let sum = matrices.indices.reduce(UInt64(0)) { sum, index in
      if index + 1 < matrices.count { matrices[index + 1].prefetch() }
      return sum &+ matrices[index].read()
    }
    return layers.compactMap(\.experts).reduce(sum) { $0 &+ $1.readOneToken() }
  }
}
