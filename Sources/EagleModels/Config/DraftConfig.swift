import EagleCore
import EagleTensor

/// The settings of an EAGLE-3 draft head. Sizes that are not here are those of the target.
public struct DraftConfig: Config {
  /// How many of the target's tokens the head can propose: the most frequent ones of the training answers, or all.
  public var vocabulary = DraftVocabularySize.count(32000)
  /// The hidden size of a head that is narrower than its target, or wider; nil takes the target's.
  public var hiddenSize: Int?
  /// The query heads, key-value heads and elements of a head of its attention; nil takes the target's or, in a head of
  /// another hidden size, as many heads as fit.
  public var heads: Int?
  public var kvHeads: Int?
  public var headDimension: Int?
  /// The width of its MLP; nil takes the target's.
  public var intermediateSize: Int?
  /// The base of the rotary embedding. Some readers of exported heads have 10000 built in.
  public var ropeTheta = 10000.0
  /// The scaling of the rotary embedding.
  public var ropeScaling = HeadRopeScaling.none
  /// The number of keys that a token sees, its own included; nil for all.
  public var slidingWindow: Int?
  /// One norm over all captured states before `fc`.
  public var normBeforeFC = false
  /// A norm of each captured state before `fc`.
  public var fcNorm = false
  /// The normed state feeds the next step (speculators' meaning of the key).
  public var normOutput = false
  /// The residual starts from the normed state.
  public var normBeforeResidual = false
  /// A norm of each head of q and k.
  public var qkNorm = false
  /// Whose embedding the head reads: the target's, frozen, or one of its own, which is trained.
  public var embedding = DraftTable.target
  /// Whose LM head turns states into logits: its own, which is trained, or the target's, frozen.
  public var lmHead = DraftTable.own
  /// The weights before training.
  public var start = DraftStart.random
  /// The folder of an exported EAGLE-3 head to start from; nil starts from random weights.
  public var initFrom: String?

  public init() {}

  /// D; nil for all of the target's tokens.
  public var vocabularySize: Int? {
    get { if case .count(let size) = vocabulary { size } else { nil } }
    set { vocabulary = newValue.map { .count($0) } ?? .all }
  }

  public func validate() throws {
    for (key, count) in [
      ("vocabulary_size", vocabularySize), ("hidden_size", hiddenSize), ("heads", heads), ("kv_heads", kvHeads),
      ("intermediate_size", intermediateSize),
    ] {
      if let count { try requireCount(count, key) }
    }
    if let headDimension {
      try require(
        headDimension > 0 && headDimension % 2 == 0 && headDimension <= 4096, "head_dim",
        "must be even, above 0 and at most 4096, not \(headDimension)")
    }
    if let slidingWindow { try requireCount(slidingWindow, "sliding_window", atLeast: 64) }
    try require(ropeTheta > 0 && ropeTheta.isFinite, "rope_theta", "must be above 0, not \(ropeTheta)")
    try require(!(normBeforeFC && fcNorm), "fc_norm", "and norm_before_fc exclude each other: leave one of them out")
    try require(initFrom != "", "init_from", "is empty: name a folder, or write null")
    let sizes = [hiddenSize, heads, kvHeads, headDimension, intermediateSize].compactMap { $0 }
    try require(
      initFrom == nil || (variant == DraftVariant() && ropeScaling == .none && sizes.isEmpty), "init_from",
      "names a head whose own sizes and switches count: leave those of this recipe out")
    try require(
      initFrom == nil || start == .random, "start",
      "is fitted, and init_from names a head to start from: leave one of them out")
    try require(
      start == .random || !normBeforeResidual, "start",
      "is fitted, which a head with norm_before_residual cannot be: set it to random")
  }

  enum CodingKeys: String, CodingKey {
    case vocabulary = "vocabulary_size"
    case hiddenSize = "hidden_size"
    case heads
    case kvHeads = "kv_heads"
    case headDimension = "head_dim"
    case intermediateSize = "intermediate_size"
    case ropeTheta = "rope_theta"
    case ropeScaling = "rope_scaling"
    case slidingWindow = "sliding_window"
    case normBeforeFC = "norm_before_fc"
    case fcNorm = "fc_norm"
    case normOutput = "norm_output"
    case normBeforeResidual = "norm_before_residual"
    case qkNorm = "qk_norm"
    case embedding
    case lmHead = "lm_head"
    case start
    case initFrom = "init_from"
  }

  /// Encodes what is absent as an explicit null, so that a dump shows every key.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(vocabulary, forKey: .vocabulary)
    try container.encode(hiddenSize, forKey: .hiddenSize)
    try container.encode(heads, forKey: .heads)
    try container.encode(kvHeads, forKey: .kvHeads)
    try container.encode(headDimension, forKey: .headDimension)
    try container.encode(intermediateSize, forKey: .intermediateSize)
    try container.encode(ropeTheta, forKey: .ropeTheta)
    try container.encode(ropeScaling, forKey: .ropeScaling)
    try container.encode(slidingWindow, forKey: .slidingWindow)
    try container.encode(normBeforeFC, forKey: .normBeforeFC)
    try container.encode(fcNorm, forKey: .fcNorm)
    try container.encode(normOutput, forKey: .normOutput)
    try container.encode(normBeforeResidual, forKey: .normBeforeResidual)
    try container.encode(qkNorm, forKey: .qkNorm)
    try container.encode(embedding, forKey: .embedding)
    try container.encode(lmHead, forKey: .lmHead)
    try container.encode(start, forKey: .start)
    try container.encode(initFrom, forKey: .initFrom)
  }
}

/// The initial weights of a new head.
public enum DraftStart: String, Codable, CaseIterable, Sendable {
  /// Matrices N(0, 0.02), norms 1.
  case random
  /// The best linear guess at the target's next state, from some of the captured ones.
  case fitted

  public init(from decoder: any Decoder) throws { self = try decodeChoice(from: decoder) }
}

/// How many of the target's tokens a head can propose.
public enum DraftVocabularySize: Equatable, Sendable {
  case all
  /// The most frequent ones of the training answers.
  case count(Int)
}

extension DraftVocabularySize: Codable {
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if let size = try? container.decode(Int.self) {
      self = .count(size)
    } else if (try? container.decode(String.self)) == "all" {
      self = .all
    } else {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "must be a whole number, or all")
    }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .all: try container.encode("all")
    case .count(let size): try container.encode(size)
    }
  }
}

/// Whose table of tokens a head uses.
public enum DraftTable: String, Codable, CaseIterable, Sendable {
  /// The target's, which stays as it is.
  case target
  /// One of the head, which is trained.
  case own

  public init(from decoder: any Decoder) throws { self = try decodeChoice(from: decoder) }
}

/// The scaling of a head's rotary embedding.
public enum HeadRopeScaling: String, Codable, CaseIterable, Sendable {
  case none
  /// That of the target's layers with full attention.
  case target

  public init(from decoder: any Decoder) throws { self = try decodeChoice(from: decoder) }
}

extension DraftConfig {
  /// The switches of the head, but for the widths that follow from a target.
  var variant: DraftVariant {
    var variant = DraftVariant()
    variant.featureNorm = normBeforeFC ? .joint : fcNorm ? .perState : .none
    variant.feedsNormedState = normOutput
    variant.normsResidual = normBeforeResidual
    variant.normsQueryKey = qkNorm
    variant.window = slidingWindow
    variant.embedding = embedding
    variant.lmHead = lmHead
    return variant
  }

  /// The sizes of the head's attention.
  func attention(_ target: TargetShape) -> AttentionShape {
    let sizes = attentionSizes(target)
    return AttentionShape(heads: sizes.heads, kvHeads: sizes.kvHeads, headDimension: sizes.dimension)
  }

  private func attentionSizes(_ target: TargetShape) -> (heads: Int, kvHeads: Int, dimension: Int) {
    let dimension = headDimension ?? target.attention.headDimension
    guard let hiddenSize, hiddenSize != target.hiddenSize else {
      return (heads ?? target.attention.heads, kvHeads ?? target.attention.kvHeads, dimension)
    }
    let heads = heads ?? max(1, hiddenSize / dimension)
    return (heads, kvHeads ?? heads, dimension)
  }

  /// - Throws: `LocatedError` for settings that this target's head cannot have
  package func requireFit(_ target: TargetShape) throws {
    let size = target.vocabularySize
    try requireKey(
      vocabularySize ?? size <= size, "vocabulary_size",
      "\(vocabularySize ?? 0) is more than the target's \(size) tokens",
      "choose at most \(size), or all")
    let (heads, kvHeads, _) = attentionSizes(target)
    try requireKey(
      heads % kvHeads == 0, "heads", "\(heads) heads cannot share \(kvHeads) key-value heads",
      "set draft.kv_heads to a divisor of draft.heads")
    try requireKey(
      lmHead == .own || (vocabularySize ?? size) == size, "lm_head",
      "the target's LM head is for all of its \(size) tokens, and draft.vocabulary_size is \(vocabularySize ?? 0)",
      "set draft.vocabulary_size to all, or draft.lm_head to own")
    try requireKey(
      ropeScaling == .none || target.fullAttentionScaling != nil, "rope_scaling",
      "the rotary embedding of the target has no scaling", "set it to none")
    guard let hiddenSize, hiddenSize != target.hiddenSize else { return }
    try requireKey(
      start == .random, "start", "is fitted, which a head of another hidden_size than its target's cannot be",
      "set it to random")
    for (key, table) in [("embedding", embedding), ("lm_head", lmHead)] {
      try requireKey(
        table == .own, key, "the target's table is \(target.hiddenSize) wide, and draft.hidden_size is \(hiddenSize)",
        "set it to own")
    }
  }

  private func requireKey(_ holds: Bool, _ key: String, _ problem: String, _ advice: String) throws {
    guard holds else { throw LocatedError(path: "draft.\(key)", problem: problem, advice: advice) }
  }
}
