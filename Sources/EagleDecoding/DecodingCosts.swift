/// What a round costs on one machine with one target and draft: measured once, so that decisions taken by it can be
/// repeated.
public struct DecodingCosts: Sendable, Equatable, Codable {
  /// Seconds of a target pass over 1, 2, 3, … rows, each not less than the one before.
  public var targetPass: [Double]
  /// Seconds of a draft pass.
  public var draftPass: Double
  /// How long memory takes for the target's weights, which no pass can beat.
  public var reading: Reading?

  /// A plain reading of the matrices of a pass by all threads.
  public struct Reading: Sendable, Equatable, Codable {
    public let bytes: Int
    public let seconds: Double
  }

  public init(targetPass: [Double], draftPass: Double, reading: Reading? = nil) {
    self.reading = reading
    var longest = 0.0
    self.targetPass = targetPass.map {
      longest = max(longest, $0)
      return longest
    }
    self.draftPass = draftPass
  }

  /// Seconds of a pass over `rows` rows; beyond the measured ones in a straight line.
  func pass(rows: Int) -> Double {
    let last = targetPass.count
    guard last > 1, rows > last else { return targetPass[max(0, min(rows, last) - 1)] }
    return targetPass[last - 1] + Double(rows - last) * (targetPass[last - 1] - targetPass[0]) / Double(last - 1)
  }

  enum CodingKeys: String, CodingKey {
    case targetPass = "target_pass"
    case draftPass = "draft_pass"
    case reading
  }
}

/// Decides whether and how far a round drafts. A node is worth its cost when the tokens that it is likely to bring, for
/// each second that it takes, are not fewer than the tokens a second of the text so far: the rule that makes the whole
/// text fastest.
///
/// Everything it knows are the given costs and counts of accepted tokens, no clock: the same text is drafted alike.
package struct DraftBudget {
  let costs: DecodingCosts
  /// Of the round that is drafted now.
  package var company = Company()
  private var tokens = 1.0
  private var seconds: Double
  private var accepted = 1.0
  private var refused = 1.0
  /// Whether a draft of this text has been kept. Until then a round that costs something has one draft pass and two
  /// nodes: a text may end before more than that has paid.
  private var isProven = false
  /// Seconds that a drafted round has saved of late, against plain decoding; an exponential mean.
  private var saved: Double
  /// Rounds that go on plainly, now and the next time that drafting has lost. The first ones do: an answer of three
  /// tokens ends before a draft has paid for its pass.
  private var pause = firstPause
  private var nextPause = shortestPause

  private static let firstPause = 2
  private static let shortestPause = 8
  private static let longestPause = 128
  private static let newestWeight = 0.25

  package init(costs: DecodingCosts) {
    self.costs = costs
    seconds = costs.pass(rows: 1)
    saved = seconds / 2  // a few rounds to show what the draft is worth
  }

  /// Whether this round drafts at all. Where drafts have cost more than they saved, only a round now and then finds out
  /// whether that has changed.
  package mutating func paysRound() -> Bool {
    if pause == 0 { return true }
    pause -= 1
    return false
  }

  /// Whether one more draft pass pays, from a path of this probability, when `rows` rows are to be checked so far.
  /// Where they are already the most that a pass may have, what it finds takes the place of others.
  func paysPass(from probability: Double, rows: Int, most: Int) -> Bool {
    let step = costs.draftPass + marginal(from: rows, to: min(rows + 1, most))
    guard isProven || step == 0 else { return false }
    return probability * accepted / (accepted + refused) * secondsPerToken >= step
  }

  /// Whether checking a node of this probability pays, as row `rows` + 1 of the pass.
  func paysRow(of probability: Double, rows: Int) -> Bool {
    let cost = marginal(from: rows, to: rows + 1)
    return (isProven || rows < 3 || cost == 0) && probability * secondsPerToken >= cost
  }

  /// Counts a round: its draft passes, rows checked and draft tokens kept.
  package mutating func count(draftPasses: Int, rows: Int, kept: Int) {
    tokens += Double(kept + 1)
    seconds += Double(draftPasses) * costs.draftPass + costs.pass(rows: rows)
    guard draftPasses > 0 else { return }
    accepted += Double(kept)
    if kept > 0 { isProven = true }
    if kept < rows - 1 { refused += 1 }
    let spent = Double(draftPasses) * costs.draftPass + marginal(from: 1, to: rows)
    saved += Self.newestWeight * (Double(kept) * plainSecondsPerToken - spent - saved)
    if saved < 0 {
      (pause, saved) = (nextPause, 0)
      nextPause = min(2 * nextPause, Self.longestPause)
    } else {
      nextPause = max(nextPause / 2, Self.shortestPause)
    }
  }

  /// Seconds that more rows of this text add to a pass.
  private func marginal(from rows: Int, to more: Int) -> Double {
    costs.pass(rows: company.rows + more) - costs.pass(rows: company.rows + rows)
  }

  /// Of a pass that gives a token to each text.
  private var plainSecondsPerToken: Double { costs.pass(rows: company.texts) / Double(company.texts) }

  /// The same with the drafts of this text, as far as they help.
  private var secondsPerToken: Double { plainSecondsPerToken * min(1, seconds / tokens / costs.pass(rows: 1)) }
}
