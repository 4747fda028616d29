import EagleTensor

/// Architectures of targets that are computed.
public enum TargetFamily: String, Sendable, CaseIterable {
  case llama, qwen2, qwen3

  /// Biases of the q, k and v projections.
  var hasAttentionBias: Bool { self == .qwen2 }
  /// RMSNorm of every q and k head.
  var hasHeadNorms: Bool { self == .qwen3 }
}

/// Sizes and constants of a target, from its `config.json`.
public struct TargetShape: Sendable, Equatable {
  public let family: TargetFamily
  public let hiddenSize: Int  // H
  public let layers: Int  // L
  public let attention: AttentionShape
  public let intermediateSize: Int  // M
  public let vocabularySize: Int  // V
  public let normEpsilon: Float
  public let ropeTheta: Double
  public let maxPositions: Int
  public let tiedHead: Bool
  public let bosToken: Int32?
  public let eosTokens: [Int32]
  public let padToken: Int32?

  /// Layers captured by default, 0-based: `[1, L/2 - 1, L - 4]`.
  public var defaultCaptureLayers: [Int] { [1, layers / 2 - 1, layers - 4] }

  /// - Throws: `ModelError` unless `layers` are three distinct, increasing layers of this target
  public func validate(captureLayers ids: [Int], path: String) throws {
    let increasing = zip(ids, ids.dropFirst()).allSatisfy { $0 < $1 }
    guard ids.count == 3, increasing, ids.allSatisfy({ (0..<layers).contains($0) }) else {
      throw ModelError(
        path: path, problem: "captured layers \(ids) do not fit a target of \(layers) layers",
        advice: "name three different layers in increasing order, each from 0 to \(layers - 1)")
    }
  }

  /// - Throws: `ModelError` for a missing key, and by name for everything that the code does not compute.
  public init(folder: String) throws {
    let file = try ConfigFile(path: "\(folder)/config.json")
    family = try Self.family(file)
    try Self.refuseUnknown(file)
    hiddenSize = try file.integer("hidden_size")
    layers = try file.integer("num_hidden_layers")
    intermediateSize = try file.integer("intermediate_size")
    vocabularySize = try file.integer("vocab_size")
    normEpsilon = Float(try file.number("rms_norm_eps"))
    ropeTheta = try Self.theta(file)
    maxPositions = try file.integer("max_position_embeddings")
    tiedHead = file.flag("tie_word_embeddings")
    attention = try Self.attention(file, hiddenSize: hiddenSize)
    bosToken = file.tokenIDs("bos_token_id").first
    eosTokens = file.tokenIDs("eos_token_id")
    padToken = file.tokenIDs("pad_token_id").first
  }

  /// A shape without a file, for measurements on random weights.
  public init(
    family: TargetFamily, hiddenSize: Int, layers: Int, attention: AttentionShape, intermediateSize: Int,
    vocabularySize: Int, ropeTheta: Double, maxPositions: Int, tiedHead: Bool
  ) {
    self.family = family
    self.hiddenSize = hiddenSize
    self.layers = layers
    self.attention = attention
    self.intermediateSize = intermediateSize
    self.vocabularySize = vocabularySize
    normEpsilon = 1e-5
    self.ropeTheta = ropeTheta
    self.maxPositions = maxPositions
    self.tiedHead = tiedHead
    bosToken = nil
    eosTokens = []
    padToken = nil
  }

  private static func family(_ file: ConfigFile) throws -> TargetFamily {
    let name = try file.text("model_type")
    guard let family = TargetFamily(rawValue: name) else {
      let known = TargetFamily.allCases.map(\.rawValue).joined(separator: ", ")
      throw ModelError(
        path: file.path, problem: "`model_type` is \"\(name)\"", advice: "known types are \(known)")
    }
    return family
  }

  private static func attention(_ file: ConfigFile, hiddenSize: Int) throws -> AttentionShape {
    let heads = try file.integer("num_attention_heads")
    let kvHeads = try file.integerIfPresent("num_key_value_heads") ?? heads
    let dimension = try file.integerIfPresent("head_dim") ?? hiddenSize / heads
    guard heads % kvHeads == 0 else {
      throw ModelError(path: file.path, problem: "\(heads) heads cannot share \(kvHeads) key-value heads")
    }
    guard dimension % 2 == 0 else {
      throw ModelError(path: file.path, problem: "`head_dim` is \(dimension), and must be even")
    }
    return AttentionShape(heads: heads, kvHeads: kvHeads, headDimension: dimension)
  }

  /// Newer configs keep theta inside `rope_parameters`.
  private static func theta(_ file: ConfigFile) throws -> Double {
    if let parameters = file.values["rope_parameters"] as? [String: Any],
      let theta = parameters["rope_theta"] as? Double
    {
      return theta
    }
    return file.isAbsent("rope_theta") ? 10000 : try file.number("rope_theta")
  }

  private static func refuseUnknown(_ file: ConfigFile) throws {
    for key in ["rope_scaling", "rope_parameters"] {
      guard let scaling = file.values[key] as? [String: Any] else { continue }
      let type = (scaling["rope_type"] ?? scaling["type"]) as? String ?? "default"
      if type != "default" { throw file.refuse("rope scaling \"\(type)\" (`\(key)`)") }
    }
    if file.flag("use_sliding_window") || (file.isAbsent("use_sliding_window") && !file.isAbsent("sliding_window")) {
      throw file.refuse("a sliding attention window (`sliding_window`)")
    }
    for key in ["num_experts", "num_local_experts", "n_routed_experts"] where !file.isAbsent(key) {
      throw file.refuse("a mixture of experts (`\(key)`)")
    }
    if !file.isAbsent("quantization_config") { throw file.refuse("quantised weights (`quantization_config`)") }
    let activation = file.isAbsent("hidden_act") ? "silu" : try file.text("hidden_act")
    if activation != "silu" { throw file.refuse("the activation \"\(activation)\" (`hidden_act`)") }
    for key in ["attention_bias", "mlp_bias"] where file.flag(key) { throw file.refuse("biases (`\(key)`)") }
    if let partial = file.values["partial_rotary_factor"] as? Double, partial != 1 {
      throw file.refuse("a partial rotary embedding (`partial_rotary_factor`)")
    }
  }
}
