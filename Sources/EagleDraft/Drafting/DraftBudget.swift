/// The decision whether and how far a round drafts. A node is worth its cost when its expected tokens for each second
/// that it takes are at least the tokens per second of the sequence so far, or of plain decoding where that is faster.
/// With correct probabilities this rule minimises the time of the whole sequence.
///
/// It depends only on the given costs and on counts of accepted tokens: with the same costs a sequence gets the same
/// drafts.
package struct DraftBudget {
  let costs: DecodingCosts
  /// The batch of the present round.
  package var batch = BatchLoad()
  private var tokens = 1.0
  private var seconds: Double
  private var accepted = 1.0
  private var rejected = 1.0
  /// The number of first drafts that were kept, and the number that a head's confidence predicted.
  private var firstKept = 1.0
  private var firstPredicted = 1.0
  /// Whether a drafted token of this sequence was accepted. Until then a round whose drafts have a cost has one draft
  /// pass and two nodes: a sequence may end before more than that has paid.
  private var hasAccepted = false
  /// The time that drafts may still lose before drafting pauses, in seconds: what they have saved against plain
  /// decoding, within bounds, plus an advance. One failed draft after good ones therefore does not stop drafting.
  private var credit: Double
  /// The rounds of plain decoding before the next draft. The first rounds are plain: an answer of three tokens ends
  /// before a draft has paid for its pass.
  private var plainRounds = firstPlainRounds
  /// The plain rounds after the next loss. They double with each loss (exponential backoff) and halve with each gain.
  private var backoff = minBackoff

  private static let firstPlainRounds = 2
  private static let minBackoff = 8
  private static let maxBackoff = 128
  /// The initial credit of a sequence, that of a trial after a pause, and the largest credit, in plain passes.
  private static let (advance, trialAdvance, mostCredit) = (1.0, 0.6, 2.0)

  package init(costs: DecodingCosts) {
    self.costs = costs
    seconds = costs.pass(tokens: 1)
    credit = Self.advance * seconds
  }

  /// The probability of a confidence head, scaled by how many first drafts were kept. The head is trained on how often
  /// a sampled token is accepted; the likeliest token is accepted more often.
  func calibrated(_ confidence: Double) -> Double {
    min(0.99, confidence * min(4, max(0.25, firstKept / firstPredicted)))
  }

  /// The share of drafted tokens that are accepted after an accepted one.
  package var share: Double { accepted / (accepted + rejected) }

  /// Whether this round drafts at all. After drafts have cost more than they saved, only an occasional round drafts, to
  /// detect whether that has changed.
  package mutating func paysRound() -> Bool {
    if plainRounds == 0 { return true }
    plainRounds -= 1
    return false
  }

  /// Whether one more draft pass pays.
  ///
  /// - Parameters:
  ///   - probability: the probability of the likeliest path that it extends
  ///   - tokens: the tokens to be verified so far
  ///   - limit: the most that the target's pass may have; where there are as many already, new nodes replace others
  ///   - isFree: whether the pass has been made already
  ///   - isNextKnown: whether the probability of the next token will be known before it takes a row of the target's
  ///     pass, so that only a path that cannot pay at all is rejected here
  func paysPass(from probability: Double, tokens: Int, limit: Int, isFree: Bool, isNextKnown: Bool) -> Bool {
    let step = (isFree ? 0 : costs.draftPass) + marginal(from: tokens, to: min(tokens + 1, limit))
    guard hasAccepted || isNextKnown || step == 0 else { return false }
    return probability * (isNextKnown ? 1 : share) * secondsPerToken >= step
  }

  /// Whether it pays to verify a node of this probability in a pass with `tokens` other tokens.
  func paysNode(of probability: Double, beside tokens: Int) -> Bool {
    let cost = marginal(from: tokens, to: tokens + 1)
    return (hasAccepted || tokens < 3 || cost == 0) && probability * secondsPerToken >= cost
  }

  /// Counts a round.
  ///
  /// - Parameters:
  ///   - draftPasses: its draft passes
  ///   - passTokens: the tokens of the target's pass
  ///   - depth: the levels of the draft
  ///   - kept: the drafted tokens that were kept
  ///   - first: the head's confidence in the likeliest first draft, where it has one, and whether that was kept
  package mutating func count(
    draftPasses: Int, tokens passTokens: Int, depth: Int, kept: Int, first: (confidence: Double, isKept: Bool)? = nil
  ) {
    if let first, depth > 0 {
      firstPredicted += first.confidence
      firstKept += first.isKept ? 1 : 0
    }
    tokens += Double(kept + 1)
    seconds += Double(draftPasses) * costs.draftPass + costs.pass(tokens: passTokens)
    guard draftPasses > 0 else { return }
    accepted += Double(kept)
    if kept > 0 { hasAccepted = true }
    if kept < depth { rejected += 1 }
    let spent = Double(draftPasses) * costs.draftPass + marginal(from: 1, to: passTokens)
    let gain = Double(kept) * plainSecondsPerToken - spent
    credit = min(Self.mostCredit * costs.pass(tokens: 1), credit + gain)
    if credit < 0 {
      (plainRounds, credit) = (backoff, Self.trialAdvance * costs.pass(tokens: 1))
      backoff = min(2 * backoff, Self.maxBackoff)
    } else if gain > 0 {
      backoff = max(backoff / 2, Self.minBackoff)
    }
  }

  /// The seconds that more tokens of this sequence add to a pass.
  private func marginal(from tokens: Int, to more: Int) -> Double {
    costs.pass(tokens: batch.otherTokens + more) - costs.pass(tokens: batch.otherTokens + tokens)
  }

  /// The seconds per token of a pass that yields one token for each sequence.
  private var plainSecondsPerToken: Double { costs.pass(tokens: batch.sequences) / Double(batch.sequences) }

  /// The seconds per token of this sequence with its drafts, but not more than without them.
  private var secondsPerToken: Double { plainSecondsPerToken * min(1, seconds / tokens / costs.pass(tokens: 1)) }
}

/// The size of the batch of a sequence's round.
package struct BatchLoad: Sendable, Equatable {
  /// The sequences of the batch, this one included.
  package var sequences = 1
  /// The tokens of the other sequences in the target's pass.
  package var otherTokens = 0

  package init(sequences: Int = 1, otherTokens: Int = 0) {
    (self.sequences, self.otherTokens) = (sequences, otherTokens)
  }

  /// The most sequences that draft together. With more of them a drafted token costs as much as a token is worth.
  package static let maxDraftingSequences = 4

  package var allowsDrafts: Bool { sequences <= Self.maxDraftingSequences }
}
