import EagleDraft

/// The options of one generation: how it is drafted and sampled, and when it ends.
public struct DecodingOptions: Sendable {
  /// The most new tokens.
  public var maxNewTokens: Int
  /// The ids that end the generation. The first of them to come is its last token.
  public var stopIDs: Set<Int32>
  /// The shape of the draft's proposals.
  public var plan: DraftPlan
  /// The rules that choose each token.
  public var sampling: SamplingOptions
  /// Whether the prefill is batch-invariant, as every later pass is. It is slower then, and the result does not depend,
  /// bit for bit, on how much of the prompt was cached.
  public var isPrefillInvariant: Bool

  /// Creates the options of one generation.
  public init(
    maxNewTokens: Int, stopIDs: Set<Int32>, plan: DraftPlan = .chain(3), sampling: SamplingOptions = .greedy,
    isPrefillInvariant: Bool = false
  ) {
    self.maxNewTokens = maxNewTokens
    self.stopIDs = stopIDs
    self.plan = plan
    self.sampling = sampling
    self.isPrefillInvariant = isPrefillInvariant
  }
}
