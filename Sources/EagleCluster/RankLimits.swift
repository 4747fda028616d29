/// The seconds that a rank may be silent or without progress before the run is given up.
public struct RankLimits: Sendable, Equatable {
  /// Seconds without a heartbeat: the process is stopped or gone, or the network is cut.
  package var silence: Double
  /// Seconds without any progress while another rank waits for as long.
  package var stall: Double

  package init(silence: Double = 60, stall: Double = 1800) {
    self.silence = silence
    self.stall = stall
  }
}
