import Foundation

/// The cost of communication in one step, as rank 0 measured it.
package struct StepCommunication: Codable, Sendable, Equatable {
  /// Seconds in which gradients or weights were in flight.
  package let seconds: Double
  /// Seconds in which this rank waited and computed nothing.
  package let exposed: Double
  /// Bytes that this rank sent; with averaging in two levels those to other nodes.
  package let bytesSent: Int
  /// The time that the slowest rank computed longer than the ranks did on average, as a fraction of the average.
  package let imbalance: Double

  package init(seconds: Double, exposed: Double, bytesSent: Int, imbalance: Double) {
    (self.seconds, self.exposed, self.bytesSent, self.imbalance) = (seconds, exposed, bytesSent, imbalance)
  }

  enum CodingKeys: String, CodingKey {
    case seconds, exposed, imbalance
    case bytesSent = "bytes_sent"
  }
}

extension StepCommunication {
  /// Remarks for the progress line: more than 5 % of the step spent waiting, or partitions that differ by more than 20
  /// %.
  package func complaints(stepSeconds: Double) -> [String] {
    var complaints: [String] = []
    if exposed > 0.05 * stepSeconds {
      complaints.append(String(format: "waiting %.2f s of %.2f", exposed, stepSeconds))
    }
    if imbalance > 0.2 { complaints.append(String(format: "imbalance %.0f %%", 100 * imbalance)) }
    return complaints
  }
}
