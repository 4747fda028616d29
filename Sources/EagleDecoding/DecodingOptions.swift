import EagleTensor

/// When to stop, and how far to draft.
public struct DecodingOptions: Sendable {
  public var maxNewTokens: Int
  /// The text ends with the first of these; it is among the new tokens.
  public var stopIDs: Set<Int32>
  /// Tokens that the draft proposes in a round.
  public var draftLength: Int
  /// Products of the pass over the prompt. Every later pass is batch-invariant.
  public var promptProducts: Products

  public init(maxNewTokens: Int, stopIDs: Set<Int32>, draftLength: Int = 3, promptProducts: Products = .fp32) {
    self.maxNewTokens = maxNewTokens
    self.stopIDs = stopIDs
    self.draftLength = draftLength
    self.promptProducts = promptProducts
  }
}
