import EagleCore
import Foundation

extension StepModel.Link {
  /// The fraction of a link's nominal rate that large all-reduces use (docs/results/clusters.md: 100.7 of 125 MB/s).
  private static let used = 0.8
  /// The seconds of a call without data, if it was not measured.
  private static let assumedLatency = 50e-6

  /// The assumed link for a string such as `10Gbit` or `500Mbit`.
  ///
  /// - Returns: nil for any other string
  package init?(_ text: String) {
    let units: [(String, Double)] = [("gbit", 1e9), ("mbit", 1e6)]
    let lower = text.lowercased()
    guard let unit = units.first(where: { lower.hasSuffix($0.0) }),
      let number = Double(lower.dropLast(unit.0.count).trimmingCharacters(in: .whitespaces)), number > 0,
      number.isFinite
    else { return nil }
    self.init(bandwidth: Self.used * number * unit.1 / 8, latency: Self.assumedLatency)
  }

  /// Reads a link from the output of `bench ranks --json`.
  ///
  /// - Throws: for any other file, and if no rank has sent anything to another rank
  package init(measuredIn path: String) throws {
    func fail(_ problem: String) -> LocatedError {
      LocatedError(
        path: path, problem: problem,
        advice: "write it with `mpirun … eagle-train bench ranks --json`, one rank on each of two nodes")
    }
    guard let data = FileManager.default.contents(atPath: path) else { throw fail("cannot be read") }
    guard let report = try? JSONDecoder().decode(RanksBenchmark.Report.self, from: data) else {
      throw fail("is not what `bench ranks` prints")
    }
    guard let sum = report.sums.last(where: { $0.wire == .fp32 && $0.bytesSent > 0 }) else {
      throw fail("holds no sum between two ranks")
    }
    self.init(bandwidth: sum.bytesPerSecond, latency: report.latency)
  }
}
