import EagleTensor

/// The options of one text: how it is drafted and sampled, and when it ends.
public struct DecodingOptions: Sendable {
  public var maxNewTokens: Int
  /// The ids that end the text. The first of them to come is its last token.
  public var stopIDs: Set<Int32>
  /// The shape of the draft's proposals.
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
