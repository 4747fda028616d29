import EagleCore
import EagleTraining
import Foundation

/// The time, memory and disk of a run before it starts.
package struct RunPlan: Codable, Sendable {
  /// The content of the training files.
  package struct Corpus: Codable, Sendable {
    package var conversations: Double
    package var tokens: Double
    /// The fraction of the tokens that carry loss.
    package var trainedShare: Double
    /// The fraction of the files' bytes that was read; 1 if the numbers are exact.
    package var readShare: Double
    package var stepsPerEpoch: Int

    enum CodingKeys: String, CodingKey {
      case conversations, tokens
      case trainedShare = "trained_share"
      case readShare = "read_share"
      case stepsPerEpoch = "steps_per_epoch"
    }
  }

  /// A part of the run, and its time on each of `nodes`.
  package struct Stage: Codable, Sendable {
    package var name: String
    /// The work of the stage as readable text.
    package var work: String
    package var operations: Double
    /// The seconds in the order of `nodes`.
    package var seconds: [Double]
  }

  /// A number of nodes like this one. The first is this start.
  package struct Nodes: Codable, Sendable {
    package var nodes: Int
    package var ranksPerNode: Int
    /// The seconds of an optimiser step.
    package var stepSeconds: Double
    /// Its exposed communication in seconds; nil for this start if it has several nodes, whose measured steps include
    /// it.
    package var exposed: Double?
    /// The throughput divided by that of as many single nodes; nil in the same case.
    package var efficiency: Double?
    /// The memory of a node in bytes.
    package var memory: Double
    /// The bytes of the capture store and everything else on one disk, or on the disk of a node.
    package var disk: Double
    /// The smallest batch, in tokens, with which these nodes are 90 % efficient.
    package var batchForNinety: Int?

    enum CodingKeys: String, CodingKey {
      case nodes, exposed, efficiency, memory, disk
      case ranksPerNode = "ranks_per_node"
      case stepSeconds = "step_seconds"
      case batchForNinety = "batch_for_90_percent"
    }
  }

  package var run: String
  /// The ranks, the threads and the GEMM implementation of the measurement.
  package var measured: String
  package var measuringSeconds: Double
  package var corpus: Corpus
  package var disk: [Need]
  package var freeDisk: Double
  /// The memory of one rank, except for the first entry, which the ranks of a node share.
  package var memory: [Need]
  package var totalMemory: Double
  package var nodes: [Nodes]
  package var stages: [Stage]
  /// The gain of decoding with a head.
  package var gain: GainForecast?
  /// The assumptions of the numbers.
  package var suppositions: [String]
  /// The problems of memory and disk, with advice.
  package var problems: [String]

  enum CodingKeys: String, CodingKey {
    case run, measured, corpus, disk, memory, nodes, stages, gain, suppositions, problems
    case measuringSeconds = "measuring_seconds"
    case freeDisk = "free_disk"
    case totalMemory = "total_memory"
  }

  /// The seconds of all stages on each of `nodes`.
  package var totalSeconds: [Double] {
    nodes.indices.map { index in stages.reduce(0) { $0 + $1.seconds[index] } }
  }

  /// The seconds until jobs of these sizes are done, if each is assigned to the first free worker (list scheduling).
  package static func makespan(jobs: [Double], workers: Int) -> Double {
    var busy = [Double](repeating: 0, count: max(1, workers))
    for job in jobs {
      let first = busy.indices.min { busy[$0] < busy[$1] }!
      busy[first] += job
    }
    return busy.max()!
  }

  /// The same for many equal jobs and a smaller last one.
  package static func makespan(total: Double, job: Double, workers: Int) -> Double {
    guard job > 0 else { return 0 }
    let whole = Int(total / job)
    guard whole < 100_000 else { return total / Double(workers) }
    let last = total - Double(whole) * job
    return makespan(jobs: [Double](repeating: job, count: whole) + (last > 0 ? [last] : []), workers: workers)
  }

  /// The problems of memory and disk as sentences.
  package static func problems(
    memory: Double, of total: Double, disk: Double, free: Double, config: Advice
  ) -> [String] {
    var problems: [String] = []
    if total > 0, memory > total {
      problems.append(
        "this will not fit: \(Format.bytes(memory)) of memory on a node that has \(Format.bytes(total)); "
          + config.forMemory.joined(separator: ", or "))
    }
    if free > 0, disk > free {
      problems.append(
        "this will not fit: \(Format.bytes(disk)) on a disk with \(Format.bytes(free)) free; "
          + config.forDisk.joined(separator: ", or "))
    }
    return problems
  }

  /// The settings that can be changed to solve a problem.
  package struct Advice {
    package var forMemory: [String] = []
    package var forDisk: [String] = []

    package init(capture: CaptureConfig, train: TrainConfig, ranksPerNode: Int, ranks: Int, nodes: Int) {
      if ranksPerNode > 1 { forMemory.append("start fewer ranks on a node, with more threads each") }
      if !train.shardOptimizer, train.optimizer == .adamw, ranks > 1 {
        forMemory.append("set train.shard_optimizer to true")
      }
      forMemory += ["choose a smaller draft.vocabulary_size", "take a machine with more memory"]
      if capture.mode == .store {
        if capture.states == .bf16 { forDisk.append("set capture.states to int8") }
        forDisk.append("set capture.mode to online")
        if capture.store == .shared, nodes > 1 { forDisk.append("set capture.store to node") }
      }
      if train.keepCheckpoints > 1 { forDisk.append("lower train.keep_checkpoints") }
      forDisk.append("name another disk with output")
    }
  }
}
