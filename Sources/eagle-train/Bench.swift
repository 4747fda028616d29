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
    abstract: "Speed of this machine on random weights in the shape of a model: no model needed.",
    subcommands: [
      BenchGemm.self, BenchCapture.self, BenchTrain.self, BenchGenerate.self, BenchPasses.self, BenchRanks.self,
    ])

  /// - Parameter lines: for people; nil prints JSON
  static func show(_ report: some Encodable, _ lines: [String]?) throws {
    let text = try lines?.joined(separator: "\n") ?? JSONStyle.indentedEscaped.text(report)
    try Output.write(text + "\n")
  }
}

/// Matrix products in the sizes of a draft head.
struct BenchGemm: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "gemm", abstract: "Matrix products in the sizes of a draft head: forward and both gradients.")

  @OptionGroup var options: BenchOptions

  func run() throws {
    let report = try options.run { options, _ in GemmBenchmark.run(options) }
    try options.show(report, report.lines())
  }
}

struct BenchCapture: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "capture", abstract: "The capture pass of a frozen target, its HDF5 shards written.")

  @OptionGroup var options: BenchOptions

  func run() throws {
    let report = try options.run { try CaptureBenchmark.run($0, folder: $1) }
    try options.show(report, report.lines())
  }
}

struct BenchTrain: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train",
    abstract: "Optimiser steps of a draft head: reading, objective, gradients, AdamW; alone, or over MPI.")

  @OptionGroup var options: BenchOptions

  @Option(help: "Precision of gradients between ranks.")
  var gradients = WirePrecision(.fp32)

  @Flag(help: "Each rank steps its share of the weights only.")
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
    commandName: "generate", abstract: "Answers to many prompts at a time, as regenerate decodes them, by batch size.")

  @Option(help: "The model whose sizes are taken.")
  var shape: BenchmarkShape

  @Option(help: "Sequences that decode together.")
  var batches = "1,16,64"

  @Option(help: "Tokens of each prompt.")
  var promptTokens = 100

  @Option(help: "Tokens of each answer.")
  var newTokens = 100

  @Option(help: "Precision of matrix products.")
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
    commandName: "passes", abstract: "Decoding passes over 1 to 8 tokens, against the bytes that they read.")

  @Option(help: "The model whose sizes are taken.")
  var shape: BenchmarkShape

  @Option(help: "Format of the target's weights: stored is bf16.")
  var weights = WeightFormat.stored

  @Option(help: "Precision of matrix products.")
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

/// What ranks can send each other.
struct BenchRanks: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ranks",
    abstract: "Start it under mpirun: checks every collective call, then measures latency and sums of gradients.")

  @Option(help: "Size of the largest sum.")
  var megabytes = 64

  @Option(help: "Timed repeats after a first one; the median counts.")
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

/// What is measured and how it is shown.
struct BenchOptions: ParsableArguments {
  @Option(help: "The model whose sizes are taken.")
  var shape: BenchmarkShape

  @Option(help: "Tokens of one conversation; rows of a product.")
  var tokens = 512

  @Option(help: "Conversations of one repeat; by default as many as 2048 tokens hold, at least 1.")
  var conversations: Int?

  @Option(help: "Share of the tokens that an assistant wrote.")
  var assistantShare = 0.5

  @Option(help: "Steps that the head is trained through.")
  var tttLength = 7

  @Option(help: "Draft vocabulary; by default that of the shape's recipe.")
  var draftVocabulary: Int?

  @Option(help: "Precision of matrix products.")
  var precision = ComputePrecision.bf16

  @Option(help: "Timed repeats after a first one; the median counts. With 0 the first one counts.")
  var `repeat` = 3

  @Option(help: "Folder for a temporary store; by default the system's.")
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

  /// Most tokens of a repeat: far above what a machine can take.
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
