import EagleCore
import EagleTensor

/// The architectures of targets that are computed.
public enum TargetFamily: String, Sendable, CaseIterable {
  case llama, qwen2, qwen3

  /// Whether the q, k and v projections have biases.
  var hasAttentionBias: Bool { self == .qwen2 }
  /// Whether every head of q and k has an RMSNorm.
  var hasHeadNorms: Bool { self == .qwen3 }
}

/// Sizes and constants of a target, from its `config.json`.
public struct TargetShape: Sendable, Equatable {
  public let family: TargetFamily
  public let hiddenSize: Int  // H
  public internal(set) var layers: Int  // L
  package let attention: AttentionShape
  public let intermediateSize: Int  // M
  public let vocabularySize: Int  // V
  public let normEpsilon: Float
  public let ropeTheta: Double
  public let maxPositions: Int
  public let tiedHead: Bool
  public let bosToken: Int32?
  public let eosTokens: [Int32]
  public let padToken: Int32?

  /// The layers captured by default, 0-based: `[1, L/2 - 1, L - 4]`.
  public var defaultCaptureLayers: [Int] { [1, layers / 2 - 1, layers - 4] }

  /// - Throws: `LocatedError` unless `layers` are three distinct, increasing layers of this target
  public func validate(captureLayers ids: [Int], path: String) throws {
    let increasing = zip(ids, ids.dropFirst()).allSatisfy { $0 < $1 }
    guard ids.count == 3, increasing, ids.allSatisfy({ (0..<layers).contains($0) }) else {
      throw LocatedError(
        path: path, problem: "captured layers \(ids) do not fit a target of \(layers) layers",
        advice: "name three different layers in increasing order, each from 0 to \(layers - 1)")
    }
  }

  /// A target that no folder holds, for measurements.
  package init(
    family: TargetFamily, hiddenSize: Int, layers: Int, attention: AttentionShape, intermediateSize: Int,
    vocabularySize: Int, ropeTheta: Double, maxPositions: Int
  ) {
    self.family = family
    self.hiddenSize = hiddenSize
    self.layers = layers
    self.attention = attention
    self.intermediateSize = intermediateSize
    self.vocabularySize = vocabularySize
    self.ropeTheta = ropeTheta
    self.maxPositions = maxPositions
    (normEpsilon, tiedHead) = (1e-6, true)
    (bosToken, eosTokens, padToken) = (nil, [], nil)
  }

  /// - Throws: `LocatedError` for a missing key, and by name for everything that the code does not compute.
  public init(folder: String) throws {
    let file = try ConfigFile(path: "\(folder)/config.json")
    family = try Self.family(file)
    try file.refuseUncomputed()
    hiddenSize = try file.integer("hidden_size")
    layers = try file.integer("num_hidden_layers")
    intermediateSize = try file.integer("intermediate_size")
    vocabularySize = try file.integer("vocab_size")
    normEpsilon = Float(try file.number("rms_norm_eps"))
    ropeTheta = try Self.theta(file)
    maxPositions = try file.integer("max_position_embeddings")
    tiedHead = file.flag("tie_word_embeddings")
    attention = try file.attention(hiddenSize: hiddenSize)
    bosToken = try file.tokenIDs("bos_token_id").first
    eosTokens = try file.tokenIDs("eos_token_id")
    padToken = try file.tokenIDs("pad_token_id").first
  }

  private static func family(_ file: ConfigFile) throws -> TargetFamily {
    let name = try file.text("model_type")
    guard let family = TargetFamily(rawValue: name) else {
      let known = TargetFamily.allCases.map(\.rawValue).joined(separator: ", ")
      throw LocatedError(
        path: file.path, problem: "`model_type` is \"\(name)\"", advice: "known types are \(known)")
    }
    return family
  }

  /// The base of the rotary embedding. Newer configs keep it inside `rope_parameters`.
  private static func theta(_ file: ConfigFile) throws -> Double {
    if let parameters = file.values["rope_parameters"] as? [String: Any],
      let theta = parameters["rope_theta"] as? Double
    {
      return theta
    }
    return file.isAbsent("rope_theta") ? 10000 : try file.number("rope_theta")
  }
}
