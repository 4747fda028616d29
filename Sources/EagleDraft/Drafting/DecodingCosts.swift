/// The cost of a round on one machine with one target and draft: measured once, so that decisions based on it are
/// reproducible.
public struct DecodingCosts: Sendable, Equatable, Codable {
  /// The seconds of a target pass over 1, 2, 3, … tokens, each not less than the one before.
  public var targetPass: [Double]
  /// The seconds of a draft pass.
  public var draftPass: Double
  /// The time to read the target's weights from memory, a lower bound for every pass.
  public var reading: Reading?

  /// The cost of reading the matrices of a pass on all threads, without computation.
  public struct Reading: Sendable, Equatable, Codable {
    /// The number of bytes that are read.
    public let bytes: Int
    /// The seconds of the reading.
    public let seconds: Double

    /// Creates the cost of a reading.
    public init(bytes: Int, seconds: Double) { (self.bytes, self.seconds) = (bytes, seconds) }
  }

  /// Creates costs, in which a pass over more tokens never takes less time than one over fewer.
  public init(targetPass: [Double], draftPass: Double, reading: Reading? = nil) {
    self.reading = reading
    var longest = 0.0
    self.targetPass = targetPass.map {
      longest = max(longest, $0)
      return longest
    }
    self.draftPass = draftPass
  }

  /// The seconds of a target pass over this number of tokens; extrapolated linearly beyond the measured ones.
  package func pass(tokens: Int) -> Double {
    let last = targetPass.count
    guard last > 1, tokens > last else { return targetPass[max(0, min(tokens, last) - 1)] }
    return targetPass[last - 1] + Double(tokens - last) * (targetPass[last - 1] - targetPass[0]) / Double(last - 1)
  }

  /// The speedup over plain decoding of a chain that reaches `acceptanceLength`, as a ratio. A round of n drafts takes
  /// a target pass over n + 1 tokens and its draft passes.
  ///
  /// - Parameters:
  ///   - acceptanceLength: tokens of a round, the target's own included
  ///   - draftLength: n
  ///   - draftPasses: n where each draft takes a pass, and 1 where one pass drafts a block
  public func gain(acceptanceLength: Double, draftLength: Int, draftPasses: Int) -> Double {
    acceptanceLength * targetPass[0] / (pass(tokens: draftLength + 1) + Double(draftPasses) * draftPass)
  }

  enum CodingKeys: String, CodingKey {
    case targetPass = "target_pass"
    case draftPass = "draft_pass"
    case reading
  }
}
