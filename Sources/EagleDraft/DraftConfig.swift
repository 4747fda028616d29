import EagleCore
import EagleModels
import EagleTensor

/// The settings of a draft head. Sizes that are not here are those of the target.
public struct DraftConfig: Config {
  /// The architecture of the head.
  public var architecture = DraftArchitecture.eagle3
  /// The number of the target's tokens that the head can propose: the most frequent ones of the training answers, or
  /// all.
  public var vocabulary = DraftVocabularySize.count(32000)
  /// The hidden size of a head that is narrower than its target, or wider; nil takes the target's.
  public var hiddenSize: Int?
  /// The number of query heads; nil takes the target's or, in a head of another hidden size, as many as fit.
  public var heads: Int?
  /// The number of key-value heads; nil takes the target's or, in a head of another hidden size, that of the query
  /// heads.
  public var kvHeads: Int?
  /// The elements of an attention head, an even number; nil takes the target's.
  public var headDimension: Int?
  /// The width of the MLP; nil takes the target's.
  public var intermediateSize: Int?
  /// The base of the rotary embedding. Some readers of exported heads have 10000 built in.
  public var ropeTheta = 10000.0
  /// The scaling of the rotary embedding.
  public var ropeScaling = HeadRopeScaling.none
  /// The number of keys that a token attends to, its own included; nil for all.
  public var slidingWindow: Int?
  /// Whether one norm over all captured states comes before `fc`.
  public var normBeforeFC = false
  /// Whether a norm of each captured state comes before `fc`.
  public var fcNorm = false
  /// Whether the normed state feeds the next step (speculators' meaning of the key).
  public var normOutput = false
  /// Whether the residual starts from the normed state.
  public var normBeforeResidual = false
  /// Whether each head of q and k has a norm.
  public var qkNorm = false
  /// The embedding that the head reads: the target's, frozen, or one of its own, which is trained.
  public var embedding = DraftTable.target
  /// The LM head that turns states into logits: one of the head's own, which is trained, or the target's, frozen. Nil
  /// for its own in EAGLE-3, and the target's in a block drafter.
  public var lmHead: DraftTable?
  /// The number of decoder layers; nil for 1 in EAGLE-3 and 5 in a block drafter.
  public var layers: Int?
  /// The number of inputs of a block; nil for 7 in DSpark and 8 in DFlash.
  public var blockSize: Int?
  /// The rank of DSpark's Markov head; 0 for none, nil for 256 in DSpark.
  public var markovRank: Int?
  /// Whether DSpark predicts how likely a token is accepted; nil for yes.
  public var confidenceHead: Bool?
  /// Whether the slot of the newest token proposes the token after it; nil for yes in DSpark and no in DFlash.
  public var sampleFromAnchor: Bool?
  /// The mask token: the id of the block's other inputs, which never occurs in text. Nil lets `prepare` choose the last
  /// token that is not trained in the training data.
  public var maskTokenID: Int?
  /// The initial weights.
  public var start = DraftStart.random
  /// The folder, GGUF file or name on a hub of a head to fine-tune; nil begins with a new head.
  public var initFrom: String?

  /// Creates the settings with all defaults.
  public init() {}

  /// The draft vocabulary size D, in tokens; nil for all of the target's tokens.
  public var vocabularySize: Int? {
    get { if case .count(let size) = vocabulary { size } else { nil } }
    set { vocabulary = newValue.map { .count($0) } ?? .all }
  }

  /// Checks the ranges of all settings, and that they suit the architecture.
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
    try architecture == .eagle3 ? validateEagle3() : validateBlock()
    let sizes = [hiddenSize, heads, kvHeads, headDimension, intermediateSize].compactMap { $0 }
    try require(
      initFrom == nil || (takesDefaults && sizes.isEmpty), "init_from",
      "names a head whose own sizes and switches count: leave those of this recipe out")
    try require(
      initFrom == nil || start == .random, "start",
      "is fitted, and init_from names a head to start from: leave one of them out")
    try require(
      start == .random || !normBeforeResidual, "start",
      "is fitted, which a head with norm_before_residual cannot be: set it to random")
  }

  /// Whether all settings of the head but its architecture, vocabulary and rotary base have their defaults.
  private var takesDefaults: Bool {
    var plain = Eagle3Variant()
    plain.lmHead = DraftConfig(architecture).headTable
    let block: [Any?] = [layers, blockSize, markovRank, confidenceHead, sampleFromAnchor, maskTokenID]
    return variant == plain && ropeScaling == .none && block.allSatisfy { $0 == nil }
  }

  private init(_ architecture: DraftArchitecture) { self.architecture = architecture }

  private func validateEagle3() throws {
    if let layers { try validate(layers: layers) }
    for (key, isGiven) in [
      ("block_size", blockSize != nil), ("markov_rank", markovRank != nil),
      ("confidence_head", confidenceHead != nil), ("sample_from_anchor", sampleFromAnchor != nil),
      ("mask_token_id", maskTokenID != nil),
    ] {
      try require(!isGiven, key, "is for the architectures dflash and dspark: leave it out, or set draft.architecture")
    }
  }

  private func validate(layers count: Int) throws {
    try requireCount(count, "layers")
    try require(count <= DraftLayer.most, "layers", "must be at most \(DraftLayer.most), not \(count)")
  }

  private func validateBlock() throws {
    let block = block
    try validate(layers: block.layers)
    try require(
      maskTokenID.map { (0..<(1 << 30)).contains($0) } ?? true, "mask_token_id",
      "must be the id of a token, not \(maskTokenID ?? 0)")
    try requireCount(block.size, "block_size", atLeast: block.samplesFromAnchor ? 1 : 2)
    try require(block.size <= 64, "block_size", "must be at most 64, not \(block.size)")
    try requireCount(block.markovRank, "markov_rank", atLeast: 0)
    try require(
      start == .random || block.samplesFromAnchor, "start",
      "is fitted, which fits the row of the anchor, and this block does not draft from it: set it to random, or set "
        + "draft.sample_from_anchor")
    try require(
      architecture == .dspark || (block.markovRank == 0 && !block.hasConfidence), "architecture",
      "is dflash, which has neither a Markov nor a confidence head: set it to dspark")
    let own = variant
    for (key, isGiven) in [
      ("hidden_size", hiddenSize != nil), ("sliding_window", own.window != nil), ("norm_before_fc", normBeforeFC),
      ("fc_norm", fcNorm), ("norm_output", normOutput), ("norm_before_residual", normBeforeResidual),
      ("qk_norm", qkNorm), ("embedding", embedding == .own),
    ] {
      try require(!isGiven, key, "is for EAGLE-3 heads: leave it out, or set draft.architecture to eagle3")
    }
  }

  enum CodingKeys: String, CodingKey {
    case architecture
    case layers
    case blockSize = "block_size"
    case markovRank = "markov_rank"
    case confidenceHead = "confidence_head"
    case sampleFromAnchor = "sample_from_anchor"
    case maskTokenID = "mask_token_id"
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

  /// Encodes absent values as explicit nulls, so that a dump shows every key.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(architecture, forKey: .architecture)
    try container.encode(layers, forKey: .layers)
    try container.encode(blockSize, forKey: .blockSize)
    try container.encode(markovRank, forKey: .markovRank)
    try container.encode(confidenceHead, forKey: .confidenceHead)
    try container.encode(sampleFromAnchor, forKey: .sampleFromAnchor)
    try container.encode(maskTokenID, forKey: .maskTokenID)
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
  /// Matrices from N(0, 0.02), and norms of 1.
  case random
  /// A least-squares fit to the target's next state, on some of the captured states.
  case fitted

  public init(from decoder: any Decoder) throws { self = try decodeChoice(from: decoder) }
}

/// The number of the target's tokens that a head can propose.
public enum DraftVocabularySize: Equatable, Sendable {
  /// All tokens of the target.
  case all
  /// This number of tokens: the most frequent ones of the training answers.
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

/// The owner of the embedding or the LM head that a draft head uses.
public enum DraftTable: String, Codable, CaseIterable, Sendable {
  /// The target, whose table is frozen.
  case target
  /// The head itself, which trains its table.
  case own

  public init(from decoder: any Decoder) throws { self = try decodeChoice(from: decoder) }
}

/// The scaling of a head's rotary embedding.
public enum HeadRopeScaling: String, Codable, CaseIterable, Sendable {
  /// No scaling.
  case none
  /// The scaling of the target's layers with full attention.
  case target

  public init(from decoder: any Decoder) throws { self = try decodeChoice(from: decoder) }
}

extension DraftConfig {
  /// The shape of a head for a target: the target's sizes, except those that these settings give. The settings must fit
  /// the target (`requireFit`).
  ///
  /// - Parameter maskToken: a token that never occurs in text, for blocks where `maskTokenID` is nil; nil takes the
  ///   last token of the vocabulary
  package func shape(of target: TargetShape, captureLayers: [Int], maskToken: Int32? = nil) -> any DraftShape {
    switch architecture {
    case .eagle3: Eagle3Shape(of: target, self, captureLayers: captureLayers)
    case .dflash, .dspark: BlockShape(of: target, self, captureLayers: captureLayers, maskToken: maskToken)
    }
  }

  /// The layers of a target that are captured by default, 0-based: EAGLE-3's three, or for a block drafter as many as
  /// it has layers, at most eight. These are evenly spaced from 1 to L - 3, where L counts the target's layers, as in
  /// DFlash heads, with halves rounded to even.
  public func defaultCaptureLayers(of target: TargetShape) -> [Int] {
    let (first, last) = (1, target.layers - 3)
    let count = min(block.layers, TargetShape.mostCaptureLayers, last)
    guard architecture != .eagle3, last > first else { return target.defaultCaptureLayers }
    guard count > 1 else { return [target.layers / 2] }
    return (0..<count).map {
      Int((Double(first) + Double($0 * (last - first)) / Double(count - 1)).rounded(.toNearestOrEven))
    }
  }

  /// The owner of the LM head that the draft head uses.
  package var headTable: DraftTable { lmHead ?? (architecture == .eagle3 ? .own : .target) }

  /// The settings of a block drafter, with defaults filled in.
  var block: (layers: Int, size: Int, markovRank: Int, hasConfidence: Bool, samplesFromAnchor: Bool) {
    let isSpark = architecture == .dspark
    return (
      layers ?? 5, blockSize ?? (isSpark ? 7 : 8), markovRank ?? (isSpark ? 256 : 0), confidenceHead ?? isSpark,
      sampleFromAnchor ?? isSpark
    )
  }

  /// The switches of the head, except the widths that follow from a target.
  var variant: Eagle3Variant {
    var variant = Eagle3Variant()
    variant.featureNorm = normBeforeFC ? .joint : fcNorm ? .perState : .none
    variant.feedsNormedState = normOutput
    variant.normsResidual = normBeforeResidual
    variant.normsQueryKey = qkNorm
    variant.window = slidingWindow
    variant.embedding = embedding
    variant.lmHead = headTable
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
      maskTokenID.map { (0..<size).contains($0) } ?? true, "mask_token_id",
      "\(maskTokenID ?? 0) is no token: the target has \(size)", "choose one below \(size) that occurs in no text")
    try requireKey(
      vocabularySize ?? size <= size, "vocabulary_size",
      "\(vocabularySize ?? 0) is more than the target's \(size) tokens",
      "choose at most \(size), or all")
    let (heads, kvHeads, _) = attentionSizes(target)
    try requireKey(
      heads % kvHeads == 0, "heads", "\(heads) heads cannot share \(kvHeads) key-value heads",
      "set draft.kv_heads to a divisor of draft.heads")
    try requireKey(
      architecture != .eagle3 || headTable == .own || (vocabularySize ?? size) == size, "lm_head",
      "the target's LM head is for all of its \(size) tokens, and draft.vocabulary_size is \(vocabularySize ?? 0)",
      "set draft.vocabulary_size to all, or draft.lm_head to own")
    try requireKey(
      architecture == .eagle3 || headTable == .target || (vocabularySize ?? size) < size, "lm_head",
      "is own over the whole vocabulary, which other readers of a block drafter replace by the target's",
      "set it to target, or draft.vocabulary_size to less than \(size)")
    try requireKey(
      ropeScaling == .none || target.fullAttentionScaling != nil, "rope_scaling",
      "the rotary embedding of the target has no scaling", "set it to none")
    guard let hiddenSize, hiddenSize != target.hiddenSize else { return }
    try requireKey(
      start == .random, "start", "is fitted, which a head of another hidden_size than its target's cannot be",
      "set it to random")
    for (key, table) in [("embedding", embedding), ("lm_head", headTable)] {
      try requireKey(
        table == .own, key, "the target's table is \(target.hiddenSize) wide, and draft.hidden_size is \(hiddenSize)",
        "set it to own")
    }
  }

  private func requireKey(_ holds: Bool, _ key: String, _ problem: String, _ advice: String) throws {
    guard holds else { throw LocatedError(path: "draft.\(key)", problem: problem, advice: advice) }
  }
}
