import EagleCore
import EagleTensor

/// The sizes and constants of a target, from its `config.json`.
public struct TargetShape: Sendable, Equatable {
  /// The model family.
  public let family: TargetFamily
  /// The hidden size H.
  public let hiddenSize: Int  // H
  /// What each layer computes, [L].
  package var layerShapes: [LayerShape]
  /// The attention heads, the same in all layers.
  package let attention: AttentionShape
  /// The MLP width M of the config; layers with experts may have others.
  public let intermediateSize: Int
  /// The vocabulary size V, in tokens.
  public let vocabularySize: Int  // V
  /// The epsilon of RMSNorm.
  public let normEpsilon: Float
  /// The longest sequence, in tokens.
  public let maxPositions: Int
  /// `max_position_embeddings` as the config states it, which `maxPositions` may be below.
  package let statedPositions: Int
  /// Whether the LM head is the token embedding.
  public let tiedHead: Bool
  /// The id that begins a sequence; nil for none.
  public let bosToken: Int32?
  /// The ids that end a generation.
  public let eosTokens: [Int32]
  /// The id of padding; nil for none.
  public let padToken: Int32?
  /// The factor of token embeddings.
  package let embeddingScale: Float
  /// Logits are divided by it.
  package let logitsDivisor: Float
  /// Logits become softcap · tanh(logit / softcap); nil for none.
  package let logitsSoftcap: Float?

  /// The number of decoder layers L.
  public var layers: Int { layerShapes.count }

  /// Tokens of the tokenizer that this model does not have, since its vocabulary ends before them.
  package var omittedTokens: Set<String> { family.facts.omittedTokens }

  /// The suffix of a fingerprint where sequences are so long that their rotary embedding is another one.
  var stretchedSuffix: String {
    let short = layerShapes.compactMap { $0.rotary?.scaling?.shortLength }.min() ?? .max
    return maxPositions > short ? " for \(maxPositions) tokens" : ""
  }

  /// The rotary embeddings of the layers, for sequences of at most `maxPositions` tokens.
  var rotaries: [(shape: RotaryShape, rotary: Rotary)] {
    Set(layerShapes.compactMap(\.rotary)).map { ($0, $0.rotary(context: maxPositions)) }
  }

  /// The layers of a KV cache.
  package func cacheLayers(_ format: CacheFormat) -> [KVCache.LayerShape] {
    layerShapes.map { KVCache.LayerShape(width: $0.attention.keyWidth, window: $0.window, format: format) }
  }

  /// The most layers that are captured.
  package static let mostCaptureLayers = 8

  /// The decoder layers captured for an EAGLE-3 head by default, 0-based: `[1, L/2 - 1, L - 4]`.
  public var defaultCaptureLayers: [Int] { [1, layers / 2 - 1, layers - 4] }

  /// The most layers. Today's models have up to 126.
  static let mostLayers = 4096

  /// Checks captured layers; `path` names them in errors.
  ///
  /// - Throws: `LocatedError` unless these are one to eight distinct, increasing layers of this target
  public func validate(captureLayers ids: [Int], path: String) throws {
    let increasing = zip(ids, ids.dropFirst()).allSatisfy { $0 < $1 }
    guard (1...Self.mostCaptureLayers).contains(ids.count), increasing, ids.allSatisfy({ (0..<layers).contains($0) })
    else {
      throw LocatedError(
        path: path, problem: "captured layers \(ids) do not fit a target of \(layers) layers",
        advice: "name one to eight different layers in increasing order, each from 0 to \(layers - 1)")
    }
  }

  /// The scaling of the rotary embedding of layers without a window; nil for none.
  package var fullAttentionScaling: RotaryScaling? {
    layerShapes.first { $0.window == nil && $0.rotary != nil }?.rotary?.scaling
  }

  /// Reads the config of a Hugging Face folder, or the metadata of a GGUF file.
  ///
  /// - Parameters:
  ///   - folder: the folder, or the file
  ///   - context: the length of the longest sequence, where the rotary embedding depends on it; nil for the original
  ///     training length
  /// - Throws: `LocatedError` for a missing key, and by name for everything that the code does not compute
  public init(folder: String, context: Int? = nil) throws {
    try self.init(ModelSource(path: folder), context: context)
  }

  package init(_ source: ModelSource, context: Int? = nil) throws {
    try self.init(ConfigFile("config.json", of: source.texts), context: context)
  }

  /// A target without files, for measurements.
  ///
  /// - Parameters:
  ///   - more: further keys of a `config.json`, as the family has them
  package init(
    family: TargetFamily, hiddenSize: Int, layers: Int, attention: AttentionShape, intermediateSize: Int,
    vocabularySize: Int, ropeTheta: Double, maxPositions: Int, more: [String: Any] = [:]
  ) {
    let config: [String: Any] = [
      "model_type": family.rawValue, "hidden_size": hiddenSize, "num_hidden_layers": max(1, layers),
      "num_attention_heads": attention.heads, "num_key_value_heads": attention.kvHeads,
      "head_dim": attention.headDimension, "intermediate_size": intermediateSize, "vocab_size": vocabularySize,
      "rms_norm_eps": 1e-6, "rope_theta": ropeTheta, "max_position_embeddings": maxPositions,
      "tie_word_embeddings": true,
    ]
    self.init(config: config.merging(more) { $1 }, layers: layers)
  }

  /// The same from the keys of a `config.json`.
  ///
  /// - Parameter layers: another number of layers than the config's, 0 among others
  package init(config: [String: Any], layers: Int?) {
    var config = config
    if let layers { config["num_hidden_layers"] = max(1, layers) }
    do { try self.init(ConfigFile(path: "config.json", values: config), context: nil) } catch {
      preconditionFailure("\(error)")
    }
    if let layers { layerShapes = Array(layerShapes.prefix(layers)) }
  }

  init(_ whole: ConfigFile, context: Int?) throws {
    let (family, file) = try whole.family()
    let facts = family.facts
    self.family = family
    try file.refuseUncomputed(facts)
    hiddenSize = try file.integer("hidden_size")
    intermediateSize = try file.integer("intermediate_size")
    vocabularySize = try file.integer("vocab_size")
    normEpsilon = Float(try file.number("rms_norm_eps"))
    layerShapes = try file.layerShapes(facts, hiddenSize: hiddenSize)
    attention = layerShapes[0].attention
    maxPositions = try file.maxPositions(layerShapes, context: context)
    statedPositions = try file.integer("max_position_embeddings")
    tiedHead = file.isAbsent("tie_word_embeddings") ? facts.isTiedByDefault : file.flag("tie_word_embeddings")
    bosToken = try file.tokenIDs("bos_token_id").first
    eosTokens = try file.tokenIDs("eos_token_id")
    padToken = try file.tokenIDs("pad_token_id").first
    let multiplier = facts.multipliers ? try file.multiplier("embedding_multiplier") : 1
    embeddingScale = facts.scalesEmbedding ? Float(hiddenSize).squareRoot() : multiplier
    logitsDivisor = facts.multipliers ? try file.multiplier("logits_scaling") : 1
    logitsSoftcap = facts.capsLogits ? try file.softcap("final_logit_softcapping") : nil
  }
}
