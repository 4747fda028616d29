import EagleCore
import EagleRunFiles
import EagleTensor
import Foundation

/// The result of a measurement of capture or training.
package struct BenchmarkReport: Codable, Sendable {
  package var benchmark: String
  package var shape: BenchmarkShape
  /// The tokens of each conversation, and the number of conversations.
  package var tokens: Int
  package var conversations: Int
  /// The number of threads of each rank.
  package var threads: Int
  package var ranks: Int
  /// The GEMM implementation that was used.
  package var path: String
  /// The median of the repeats.
  package var seconds: Double
  package var tokensPerSecond: Double
  /// Needed operations (see `NeededOperations`) per second, in 1e9.
  package var gflops: Double
  /// The rate of a large GEMM, measured together with the repeats, in 1e9 operations per second.
  package var peakGflops: Double
  package var peakRatio: Double
  /// The seconds of each phase in the median repeat; the rest of `seconds` belongs to no phase.
  package var phases: [String: Double]
  /// The trained parameters of the head, and how many of them are in its LM head; nil for capture.
  package var parameters: Int?
  package var headParameters: Int?
  /// The communication of the median repeat; nil for a single rank.
  package var communication: StepCommunication?
  /// The peak resident memory of the process so far in bytes, including mapped files.
  package var peakRSS: Int
  /// The memory that `plan` predicts for a rank of this training, in bytes; nil for capture.
  package var plannedMemory: Double?

  enum CodingKeys: String, CodingKey {
    case benchmark, shape, tokens, conversations, threads, ranks, path, seconds, gflops, phases, communication
    case tokensPerSecond = "tokens_per_second"
    case peakGflops = "peak_gflops"
    case peakRatio = "peak_ratio"
    case peakRSS = "peak_rss"
    case plannedMemory = "planned_memory"
    case parameters
    case headParameters = "head_parameters"
  }

  /// The report as readable lines.
  package func lines() -> [String] {
    let head = String(
      format: "%@ %@: %.1f tokens/s, %.1f GFLOP/s of needed operations, %.0f %% of the %.1f that products reach",
      benchmark, shape.rawValue, tokensPerSecond, gflops, 100 * peakRatio, peakGflops)
    let what =
      "\(Format.count(conversations, "conversation")) of \(tokens) tokens, \(ranks) x \(Format.count(threads, "thread")), \(path)"
    let parts = phases.sorted { $0.value > $1.value }.map { name, seconds in
      String(
        format: "  %@%8.3f s  %5.1f %%", name.padding(toLength: 16, withPad: " ", startingAt: 0), seconds,
        100 * seconds / self.seconds)
    }
    let exchange = communication.map {
      String(
        format: "gradients on their way %.3f s, waiting %.3f s, %.1f MB sent, imbalance %.1f %%", $0.seconds,
        $0.exposed,
        Double($0.bytesSent) / 1e6, 100 * $0.imbalance)
    }
    let planned = plannedMemory.map { String(format: ", planned %.0f MB", $0 / 1e6) } ?? ""
    return [head, what] + parts + [exchange].compactMap { $0 } + [
      String(format: "peak resident memory %.0f MB", Double(peakRSS) / 1e6) + planned
    ]
  }
}

/// One timed run.
struct BenchmarkRepeat {
  let seconds: Double
  let peakGflops: Double
  let phases: [String: Double]
  var communication: StepCommunication?
}

extension BenchmarkReport {
  /// - Parameters:
  ///   - operations: the needed operations of one repeat
  ///   - repeats: the repeats; the first allocates buffers and counts only if it is the only one
  init(
    _ benchmark: String, _ options: BenchmarkOptions, operations: Double, path: String, repeats: [BenchmarkRepeat],
    ranks: Int = 1
  ) {
    let repeats = repeats.count > 1 ? Array(repeats.dropFirst()) : repeats
    let median = repeats.sorted { $0.seconds < $1.seconds }[repeats.count / 2]
    let peak = repeats.map(\.peakGflops).sorted()[repeats.count / 2]
    self.benchmark = benchmark
    self.path = path
    shape = options.shape
    (tokens, conversations) = (options.tokens, options.conversations)
    (self.ranks, threads) = (ranks, Parallel.threadCount)
    seconds = median.seconds
    tokensPerSecond = Double(options.tokens * options.conversations) / median.seconds
    gflops = operations / median.seconds * 1e-9
    (peakGflops, peakRatio) = (peak, gflops / peak)
    (phases, communication) = (median.phases, median.communication)
    peakRSS = Self.peakRSS()
  }

  /// The peak resident set since the start of the program. getrusage is not used, because its value includes that of
  /// the parent program.
  static func peakRSS() -> Int { SystemMemory.peak }
}
