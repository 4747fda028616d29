import EagleCore

/// The settings of how the ranks of a run work together. Nothing here changes what is computed, but for the rounding of
/// `gradients: bf16` and the order in which `averaging` adds up.
public struct ClusterConfig: Config {
  /// The precision of gradients on their way between ranks.
  public var gradients = ComputePrecision.fp32
  /// The levels in which ranks add gradients up.
  public var averaging = AveragingChoice.auto
  /// Seconds after which all ranks end because one has not been heard from.
  public var rankTimeout = 60.0
  /// Seconds after which all ranks end because one has made no progress while another waits for it.
  public var stallTimeout = 1800.0

  /// Creates the settings with all defaults.
  public init() {}

  /// Checks that both timeouts are at least 1 second.
  public func validate() throws {
    try require(rankTimeout >= 1, "rank_timeout", "must be 1 second or more, not \(rankTimeout)")
    try require(stallTimeout >= 1, "stall_timeout", "must be 1 second or more, not \(stallTimeout)")
  }

  package var limits: RankLimits { RankLimits(silence: rankTimeout, stall: stallTimeout) }

  enum CodingKeys: String, CodingKey {
    case gradients, averaging
    case rankTimeout = "rank_timeout"
    case stallTimeout = "stall_timeout"
  }
}
