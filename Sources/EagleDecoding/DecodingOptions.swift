import EagleCore
import EagleTensor

/// How a text is continued, and when it ends.
public struct DecodingOptions: Sendable {
  public var maxNewTokens: Int
  /// The text ends with the first of these; it is among the new tokens.
  public var stopIDs: Set<Int32>
  /// What the draft proposes in a round.
  public var plan: DraftPlan
  public var sampling: SamplingOptions
  /// Products of the pass over the prompt; nil takes those of the target's precision. Every later pass is
  /// batch-invariant.
  public var promptProducts: Products?

  public init(
    maxNewTokens: Int, stopIDs: Set<Int32>, plan: DraftPlan = .chain(3), sampling: SamplingOptions = .greedy,
    promptProducts: Products? = nil
  ) {
    self.maxNewTokens = maxNewTokens
    self.stopIDs = stopIDs
    self.plan = plan
    self.sampling = sampling
    self.promptProducts = promptProducts
  }
}

/// The shape of what a draft proposes: a tree that grows level by level (EAGLE-2). A chain is a tree of width 1.
public struct DraftPlan: Sendable, Equatable, Codable, CustomStringConvertible {
  /// Levels, which is the number of draft passes of a round.
  public var depth: Int
  /// Nodes of a level that are grown further, and children that each of them gets.
  public var width: Int
  /// Nodes that the target checks: the most likely ones of all levels.
  public var nodes: Int
  /// Ends a round's drafting where the costs of this machine say that another node will not pay. Nil drafts all of it.
  public var costs: DecodingCosts?

  /// Most nodes of a plan, and most rows of its draft passes together: caches keep so many rows free.
  public static let mostNodes = 256

  public init(depth: Int, width: Int, nodes: Int, costs: DecodingCosts? = nil) {
    self.depth = depth
    self.width = width
    self.nodes = nodes
    self.costs = costs
  }

  public static func chain(_ length: Int) -> DraftPlan { DraftPlan(depth: length, width: 1, nodes: length) }

  /// What is drafted where nothing was tuned: a tree that grows as far as these costs say that it pays, and not at all
  /// where it does not. Its tokens are the target's own samples, so that no measurement changes a text.
  public static func adaptive(_ costs: DecodingCosts) -> DraftPlan {
    DraftPlan(depth: 4, width: 3, nodes: 8, costs: costs)
  }

  public var isChain: Bool { width == 1 }

  public var description: String {
    let shape = isChain ? "chain \(depth)" : "tree \(depth)x\(width), \(nodes) nodes"
    return costs == nil ? shape : "\(shape), adaptive"
  }

  /// - Throws: `GenerationError` for a shape that cannot be grown
  public func validate() throws {
    guard depth >= 0, width >= 1, nodes >= depth, nodes <= Self.mostNodes, width <= Self.mostNodes / max(1, depth)
    else {
      throw GenerationError(
        "a draft of depth \(depth), width \(width) and \(nodes) nodes cannot be grown: depth is 0 or more, width 1 or "
          + "more, nodes from the depth to \(Self.mostNodes), and depth times width not above that")
    }
  }
}

/// How the next token is chosen from the target's distribution. The filters apply in the order of the properties.
public struct SamplingOptions: Sendable, Equatable, Codable {
  /// Added to the logits of these tokens.
  public var logitBias: [Int32: Float] = [:]
  /// Divides the logits of tokens that the sequence already holds, where they are positive, and multiplies the others.
  public var repetitionPenalty: Float = 1
  /// Taken from the logit of a token for each time that the text generated so far has it; the prompt does not count.
  public var frequencyPenalty: Float = 0
  /// Taken once from the logit of a token that the text generated so far has.
  public var presencePenalty: Float = 0
  /// 0 takes the most likely token.
  public var temperature: Float = 0
  /// Keeps the k most likely tokens; 0 keeps all.
  public var topK = 0
  /// Keeps the most likely tokens that together reach this probability.
  public var topP: Float = 1
  /// Keeps tokens that are at least this likely, as a share of the most likely one.
  public var minP: Float = 0
  /// The same seed gives the same text.
  public var seed: UInt64 = 0
  /// Most likely tokens that are reported with each token of the text (`TokenLogprobs`); nil reports nothing.
  public var logprobs: Int?

  public static let greedy = SamplingOptions()

  public init() {}

  public var isGreedy: Bool { temperature == 0 }

  var penalizesGenerated: Bool { frequencyPenalty != 0 || presencePenalty != 0 }

  /// - Throws: `GenerationError` for a value without a meaning
  public func validate() throws {
    func require(_ condition: Bool, _ message: String) throws {
      guard condition else { throw GenerationError(message) }
    }
    try require(
      temperature == 0 || (temperature >= 0.01 && temperature.isFinite),
      "the temperature must be 0, or 0.01 and more, not \(temperature)")
    try require(topK >= 0, "top-k must be 0 (off) or more, not \(topK)")
    try require(topP > 0 && topP <= 1, "top-p must be above 0 and at most 1 (off), not \(topP)")
    try require(minP >= 0 && minP < 1, "min-p must be from 0 (off) to below 1, not \(minP)")
    try require(
      repetitionPenalty > 0 && repetitionPenalty.isFinite,
      "the repetition penalty must be above 0, 1 being off, not \(repetitionPenalty)")
    for (name, penalty) in [("frequency", frequencyPenalty), ("presence", presencePenalty)] {
      try require(penalty.isFinite, "the \(name) penalty must be finite, 0 being off, not \(penalty)")
    }
    try require(logprobs ?? 0 >= 0, "the number of logprobs must be 0 or more, not \(logprobs ?? 0)")
    try require(logitBias.values.allSatisfy(\.isFinite), "a logit bias must be finite")
  }
}
