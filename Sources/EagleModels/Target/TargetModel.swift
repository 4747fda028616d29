import EagleCore
import EagleStorage
import EagleTensor

// V vocabulary · H hidden.

/// The frozen target: a decoder of one of the families in `TargetFamily`.
public final class TargetModel: @unchecked Sendable {
  /// The sizes and constants of the model.
  public let shape: TargetShape
  /// The folder or GGUF file that the weights are mapped from.
  public let path: String
  /// A digest that identifies the weights and, where the rotary embedding depends on it, the length of the longest
  /// sequence.
  package let fingerprint: String
  /// The precision of the matrix products.
  public let precision: ComputePrecision
  /// The format of the KV caches of the target, and of a head that decodes with it.
  public let cacheFormat: CacheFormat
  let weights: TargetWeights
  /// The matrices whose rows are no whole blocks of the weights' format.
  package let fallbacks: FormatFallbacks
  /// The rotary embeddings of the layers.
  let rotaries: [(shape: RotaryShape, rotary: Rotary)]

  /// Maps the weights of a Hugging Face folder, or of a GGUF file in its own formats. With a format other than
  /// `stored`, matrices that are not quantised already are quantised copies.
  ///
  /// - Parameters:
  ///   - path: the folder, or the file
  ///   - format: the format of the matrices in memory
  ///   - precision: the precision of the matrix products
  ///   - cache: the format of KV caches; nil for that of the precision
  ///   - context: the length of the longest sequence, where the rotary embedding depends on it; nil for the original
  ///     training length
  /// - Throws: when a file is missing or damaged, the model is none of the families, or a weight is NaN or infinite
  public convenience init(
    folder path: String, format: WeightFormat = .stored, precision: ComputePrecision = .fp32,
    cache: CacheFormat? = nil, context: Int? = nil
  ) throws {
    try self.init(ModelSource(path: path), format: format, precision: precision, cache: cache, context: context)
  }

  package init(
    _ source: ModelSource, format: WeightFormat = .stored, precision: ComputePrecision = .fp32,
    cache: CacheFormat? = nil, context: Int? = nil
  ) throws {
    path = source.path
    self.precision = precision
    cacheFormat = cache ?? CacheFormat(for: precision)
    shape = try TargetShape(source, context: context)
    try Self.check(cacheFormat, shape, path: path)
    let stored = try TargetWeights(source.tensors(), shape: shape)
    (weights, fallbacks) = (stored.quantized(format), stored.fallbacks(format))
    fingerprint = try source.fingerprint() + shape.stretchedSuffix
    rotaries = shape.rotaries
  }

  /// A target with seeded random weights, for measurements: bfloat16, or quantised.
  package init(
    random shape: TargetShape, seed: UInt64, format: WeightFormat = .stored, precision: ComputePrecision = .fp32,
    cache: CacheFormat? = nil
  ) {
    path = "random weights"
    self.precision = precision
    cacheFormat = cache ?? CacheFormat(for: precision)
    fingerprint = "random \(seed)"
    self.shape = shape
    weights = TargetWeights(random: shape, format: format, seed: seed)
    fallbacks = weights.fallbacks(format, from: .bfloat16)
    rotaries = shape.rotaries
  }

  /// The first layers of a model with its head, for measurements.
  private init(_ whole: TargetModel, layers: Int) {
    (path, precision, fingerprint, rotaries) = (whole.path, whole.precision, whole.fingerprint, whole.rotaries)
    cacheFormat = whole.cacheFormat
    var shape = whole.shape
    shape.layerShapes = Array(shape.layerShapes.prefix(layers))
    self.shape = shape
    (weights, fallbacks) = (whole.weights.first(layers), whole.fallbacks)
  }

  /// The same model with quantised matrices, for measurements.
  private init(_ stored: TargetModel, _ format: WeightFormat) {
    (path, precision, fingerprint, rotaries) = (stored.path, stored.precision, stored.fingerprint, stored.rotaries)
    (shape, cacheFormat) = (stored.shape, stored.cacheFormat)
    (weights, fallbacks) = (stored.weights.quantized(format), stored.weights.fallbacks(format))
  }

  /// The same model with quantised matrices, for measurements.
  package func quantized(_ format: WeightFormat) -> TargetModel { TargetModel(self, format) }

  /// The first layers with the head: as many as have at least `bytes` bytes together, and at least `captured`; the
  /// whole model if it does not have more layers. `share` is their part of the model's bytes.
  package func part(atLeast bytes: Int, layers captured: Int = 3) -> (model: TargetModel, share: Double) {
    let (whole, head) = (weightBytes, weights.head.byteCount)
    let layer = max(1, (whole - head) / shape.layers)
    let layers = max(captured, (bytes - head + layer - 1) / layer)
    guard layers < shape.layers else { return (self, 1) }
    let part = TargetModel(self, layers: layers)
    return (part, Double(part.weightBytes) / Double(whole))
  }

  /// The token embedding, [V, H], as stored.
  package var embedding: Tensor { weights.embedding }
  /// The head, [V, H], as stored.
  package var head: Tensor { weights.head }

  /// An empty cache for all layers that may grow to `capacity` entries.
  package func makeCache(capacity: Int) -> KVCache {
    KVCache(layers: cacheLayers, capacity: capacity)
  }

  /// The layers of its KV caches.
  package var cacheLayers: [KVCache.LayerShape] { shape.cacheLayers(cacheFormat) }

  /// - Throws: where the heads of a layer are no whole blocks of the caches' format
  private static func check(_ format: CacheFormat, _ shape: TargetShape, path: String) throws {
    guard let layer = shape.layerShapes.first(where: { !format.fits($0.attention.headDimension) }) else { return }
    throw LocatedError(
      path: path,
      problem: "heads of \(layer.attention.headDimension) elements are no whole blocks of a KV cache in \(format)",
      advice: "take bf16 or fp32")
  }

  /// The precision in which this processor computes `decode` and `logits`.
  package var decodingPrecision: ComputePrecision {
    MatmulMode.batchInvariant(precision).roundsRows ? .bf16 : .fp32
  }

  /// Bytes of all matrices in memory.
  package var storedBytes: Int { weights.storedBytes }

  /// Bytes of the matrices that a batch-invariant pass of one token reads: with experts, those of one token.
  package var weightBytes: Int { weights.matrixBytes }

  /// The format that comes closest to that of most of its matrices' bytes, in which a head for this target is kept.
  package var weightFormat: WeightFormat {
    let bytes = weights.matrices.flatMap(\.weights).reduce(into: [DType: Int]()) {
      $0[$1.w.dtype, default: 0] += $1.w.byteCount
    }
    switch bytes.max(by: { ($0.value, $0.key.rawValue) < ($1.value, $1.key.rawValue) })?.key {
    case .q8_0: return .q8_0
    case .some(let format) where format.isBlocks: return .q4_0
    default: return .stored
    }
  }

  /// Repacks quantised matrices into the tiles that decoding passes read. Otherwise the first pass does so. The
  /// matrices of an expert are repacked at the first token that selects it.
  package func prepareForDecoding() {
    for matrix in weights.matrices.flatMap(\.weights) { matrix.w.prepare(for: .batchInvariant(precision)) }
  }

  /// Bytes of the experts of one token.
  package var expertBytesPerToken: Int { weights.layers.reduce(0) { $0 + ($1.experts?.bytesPerToken ?? 0) } }

  /// Bytes that the passes of this model have read of experts so far.
  package var expertBytesRead: Int { weights.layers.reduce(0) { $0 + ($1.experts?.bytesRead.bytes ?? 0) } }

  /// Reads the matrices of `weightBytes` on all threads, in the order of a pass, without computation: a lower bound for
  /// the time of a pass. Returns a sum over them.
  package func readWeights() -> UInt64 { weights.readMatrices() }
}
