/// What a round costs on one machine with one target and draft: measured once, so that decisions taken by it can be repeated.
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

/// Decides how far a round drafts. A node is worth its cost when the tokens that it is likely to bring, for each second that
/// it takes, are not fewer than the tokens a second of the text so far: the rule that makes the whole text fastest.
///
/// Everything it knows are the given costs and counts of accepted tokens, no clock: the same text is drafted alike.
package struct DraftBudget {
  let costs: DecodingCosts
  private var tokens = 1.0
  private var seconds: Double
  private var accepted = 1.0
  private var refused = 1.0

  package init(costs: DecodingCosts) {
    self.costs = costs
    seconds = costs.pass(rows: 1)
  }

  /// Whether one more draft pass pays, from a path of this probability, when `rows` rows are to be checked so far. Where they are
  /// already the most that a pass may have, what it finds takes the place of others.
  func paysPass(from probability: Double, rows: Int, most: Int) -> Bool {
    let step = costs.draftPass + costs.pass(rows: min(rows + 1, most)) - costs.pass(rows: rows)
    return probability * accepted / (accepted + refused) * seconds >= step * tokens
  }

  /// Whether checking a node of this probability pays, as row `rows` + 1 of the pass.
  func paysRow(of probability: Double, rows: Int) -> Bool {
    probability * seconds >= (costs.pass(rows: rows + 1) - costs.pass(rows: rows)) * tokens
  }

  /// Counts a round: its draft passes, rows checked and draft tokens kept.
  mutating func count(draftPasses: Int, rows: Int, kept: Int) {
    tokens += Double(kept + 1)
    seconds += Double(draftPasses) * costs.draftPass + costs.pass(rows: rows)
    accepted += Double(kept)
    if kept < rows - 1 { refused += 1 }
  }
}
