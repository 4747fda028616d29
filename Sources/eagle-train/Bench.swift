import ArgumentParser
import EagleCluster
import EagleCore
import EagleModels
import EaglePlan
import EagleServer
import EagleTensor
import Foundation

struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Benchmark this machine with random weights in the shape of a model; no model files are needed.",
    subcommands: [
      BenchGemm.self, BenchCapture.self, BenchTrain.self, BenchGenerate.self, BenchPasses.self, BenchRanks.self,
    ])

  /// - Parameter lines: readable lines; nil prints JSON
  static func show(_ report: some Encodable, _ lines: [String]?) throws {
    let text = try lines?.joined(separator: "\n") ?? JSONStyle.indentedEscaped.text(report)
    try Output.write(text + "\n")
  }
}

/// GEMMs in the sizes of a draft head.
struct BenchGemm: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "gemm", abstract: "Benchmark GEMMs in the sizes of a draft head: forward and both gradients.")

  @OptionGroup var options: BenchOptions

  func run() throws {
    let report = try options.run { options, _ in GemmBenchmark.run(options) }
    try options.show(report, report.lines())
  }
}

struct BenchCapture: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "capture", abstract: "Benchmark the capture pass of a frozen target, including its HDF5 shards.")

  @OptionGroup var options: BenchOptions

  func run() throws {
    let report = try options.run { try CaptureBenchmark.run($0, folder: $1) }
    try options.show(report, report.lines())
  }
}

struct BenchTrain: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train",
    abstract: "Benchmark optimiser steps of a draft head: reading, objective, gradients, AdamW; alone or over MPI.")

  @OptionGroup var options: BenchOptions

  @Option(help: "Precision of gradients between ranks.")
  var gradients = WirePrecision(.fp32)

  @Flag(help: "Shard the optimiser (ZeRO-1): each rank updates only its share of the weights.")
  var shardOptimizer = false

  func run() throws {
    try RankLauncher.run { cluster in
      let report = try options.run(cluster) {
        try TrainBenchmark.run(
          $0, folder: $1, cluster: cluster, gradients: gradients.value, isSharded: shardOptimizer)
      }
      if cluster.isRoot { try options.show(report, report.lines()) }
    }
  }
}

struct BenchGenerate: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "generate",
    abstract: "Benchmark batched decoding of many prompts, as in regenerate, by batch size.")

  @Option(help: "Model shape to benchmark.")
  var shape: BenchmarkShape

  @Option(help: "Batch sizes: sequences that are decoded together.")
  var batches = "1,16,64"

  @Option(help: "Tokens of each prompt.")
  var promptTokens = 100

  @Option(help: "Tokens of each answer.")
  var newTokens = 100

  @Option(help: "Precision of matmuls.")
  var precision = ComputePrecision.bf16

  @Flag(help: "Print JSON.")
  var json = false

  private var widths: [Int] { batches.split(separator: ",").map { Int($0) ?? 0 } }

  func validate() throws {
    let most = 1 << 20
    guard !widths.isEmpty, ([promptTokens, newTokens] + widths).allSatisfy({ 1...most ~= $0 }) else {
      throw ValidationError("--batches is a list such as 1,16,64; all numbers must be from 1 to \(most)")
    }
  }

  func run() throws {
    Parallel.threadCount = try Cluster.defaultThreads(for: SoloCommunicator())
    let report = try GenerateBenchmark.run(
      shape, batches: widths, promptTokens: promptTokens, newTokens: newTokens, precision: precision)
    try Bench.show(report, json ? nil : report.lines())
  }
}

struct BenchPasses: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "passes",
    abstract: "Benchmark decoding passes over 1 to 8 tokens, relative to the bytes that they read.")

  @Option(help: "Model shape to benchmark.")
  var shape: BenchmarkShape

  @Option(help: "Weight format of the target; stored is bf16.")
  var weights = WeightFormat.stored

  @Option(help: "Precision of matmuls.")
  var precision = ComputePrecision.bf16

  @Flag(help: "Print JSON.")
  var json = false

  func run() throws {
    Parallel.threadCount = try Cluster.defaultThreads(for: SoloCommunicator())
    let report = try PassBenchmark.run(shape, format: weights, precision: precision)
    if let line = report.fallbacks { Output.note("weights: \(line)") }
    try Bench.show(report, json ? nil : report.lines())
  }
}

/// The communication between ranks.
struct BenchRanks: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ranks",
    abstract: "Check every collective, then measure latency and all-reduce of gradients. Start it under mpirun.")

  @Option(help: "Size of the largest all-reduce, in MiB of fp32 values.")
  var megabytes = 64

  @Option(help: "Timed runs after a warm-up run; the median is reported.")
  var `repeat` = 5

  @Flag(help: "Print JSON.")
  var json = false

  func validate() throws {
    guard (1...4096).contains(megabytes), (1...1_000_000).contains(`repeat`) else {
      throw ValidationError("--megabytes must be between 1 and 4096, --repeat between 1 and 1000000")
    }
  }

  func run() throws {
    try RankLauncher.run { cluster in
      let report = try RanksBenchmark.run(cluster, megabytes: megabytes, repeats: `repeat`)
      if cluster.isRoot { try Bench.show(report, json ? nil : report.lines()) }
    }
  }
}

/// The options of measurements and of their output.
struct BenchOptions: ParsableArguments {
  @Option(help: "Model shape to benchmark.")
  var shape: BenchmarkShape

  @Option(help: "Tokens of each conversation; in gemm, rows of each GEMM.")
  var tokens = 512

  @Option(help: "Conversations per timed run. The default is as many as fit in 2048 tokens, at least 1.")
  var conversations: Int?

  @Option(help: "Share of the tokens that belong to the assistant.")
  var assistantShare = 0.5

  @Option(help: "TTT length: drafting steps through which the head is trained.")
  var tttLength = 7

  @Option(help: "Draft vocabulary size. The default is that of the shape's recipe.")
  var draftVocabulary: Int?

  @Option(help: "Precision of matmuls.")
  var precision = ComputePrecision.bf16

  @Option(
    help: """
      Timed runs after a warm-up run. capture and train report the median, or with 0 the warm-up run. gemm reports the \
      fastest run.
      """)
  var `repeat` = 3

  @Option(help: "Parent folder of the temporary store. The default is the system's temporary folder.")
  var folder: String?

  @Flag(help: "Print JSON.")
  var json = false

  func validate() throws {
    let most = Self.most
    guard (16...most).contains(tokens), 1...most ~= conversations ?? 1, 1...64 ~= tttLength, 0...most ~= `repeat` else {
      throw ValidationError(
        "--tokens must be from 16 to \(most), --conversations from 1, --repeat from 0, --ttt-length from 1 to 64")
    }
    // The counts are below 2^24, so their product cannot overflow.
    guard tokens * (conversations ?? 1) <= most else {
      throw ValidationError("--tokens times --conversations must be \(most) or less")
    }
    guard assistantShare > 0, assistantShare <= 1, Int(Double(tokens) * assistantShare) >= 2 else {
      throw ValidationError("--assistant-share must be above 0, at most 1, and make at least 2 tokens")
    }
    let largest = shape.vocabularySize
    guard (1...largest).contains(draftVocabulary ?? 1) else {
      throw ValidationError("--draft-vocabulary must be between 1 and \(largest)")
    }
  }

  /// The maximum number of tokens of a repeat, far above the capacity of any machine.
  private static let most = 1 << 24

  /// Runs `body` with all threads and an empty folder that is removed afterwards.
  func run<T>(
    _ cluster: any Communicator = SoloCommunicator(), _ body: (BenchmarkOptions, String) throws -> T
  ) throws -> T {
    Parallel.threadCount = try Cluster.defaultThreads(for: cluster)
    let parent = folder.map { URL(fileURLWithPath: $0) } ?? FileManager.default.temporaryDirectory
    let temporary = parent.appendingPathComponent("eagle-train-bench-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: temporary, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: temporary) }
    return try body(measured, temporary.path)
  }

  private var measured: BenchmarkOptions {
    BenchmarkOptions(
      shape: shape, tokens: tokens, conversations: conversations ?? max(1, 2048 / tokens),
      assistantShare: assistantShare, tttLength: tttLength, draftVocabularySize: draftVocabulary, precision: precision,
      repeats: `repeat`)
  }

  func show(_ report: some Encodable, _ lines: [String]) throws { try Bench.show(report, json ? nil : lines) }
}

extension BenchmarkShape: ExpressibleByArgument {}
extension ComputePrecision: ExpressibleByArgument {}
extension WeightFormat: ExpressibleByArgument {}

/// The precision of gradients as a flag, whose help names the lossless one first.
struct WirePrecision: ExpressibleByArgument {
  let value: ComputePrecision

  init(_ value: ComputePrecision) { self.value = value }

  init?(argument: String) {
    guard let value = ComputePrecision(rawValue: argument) else { return nil }
    self.value = value
  }

  var defaultValueDescription: String { value.rawValue }

  static var allValueStrings: [String] { [ComputePrecision.fp32, .bf16].map(\.rawValue) }
}
