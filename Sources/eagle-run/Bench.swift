import ArgumentParser
import EagleChat
import EagleCore
import EagleDecoding
import EagleDraft
import EagleRunFiles
import Foundation

struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measure a draft head on prompt files: acceptance length, speed, and texts equal to plain decoding.")

  @OptionGroup var models: ModelOptions

  @Option(
    help: """
      Prompt file: JSON Lines with `turns`, `prompt`, `question` or `problem`, or multiple-choice questions. May be \
      repeated.
      """)
  var prompts: [String]

  @Option(help: "Maximum number of prompts per file.")
  var limit = 40

  @Option(help: "Maximum number of new tokens per turn.")
  var maxTokens = 256

  @Option(help: "Sampling temperature; 0 is greedy. Sampled texts are not compared with plain decoding.")
  var temperature = 0.0

  @Option(help: "Random seed of sampled texts.")
  var seed: UInt64 = 0

  @Option(
    help: """
      Context length: measure again with each prompt extended to this many tokens by texts of other prompts. May be \
      repeated, in ascending order.
      """)
  var contextLength: [Int] = []

  @OptionGroup var plan: PlanOptions

  @Option(help: "Write the results to this file as JSON, with one object per prompt file.")
  var json: String?

  func validate() throws {
    guard models.draft != nil else {
      throw ValidationError("bench compares a draft head with plain decoding: give the head with --draft")
    }
    guard limit > 0, maxTokens > 0 else { throw ValidationError("--limit and --max-tokens must be above 0") }
    do { try config([:]).validate() } catch { throw ValidationError("\(error)") }
  }

  private func config(_ benchmarks: [String: String]) -> EvaluateConfig {
    var config = EvaluateConfig(benchmarks, limit: limit, maxTokens: maxTokens)
    (config.temperature, config.seed, config.contextLengths) = (temperature, seed, contextLength)
    return config
  }

  func run() throws {
    let (model, draft) = try models.load()
    let evaluator = try Evaluator(model: model, config: config(try PromptFiles.named(prompts)))
    let plan = try plan.plan(models, model, draft)
    let results = try evaluator.run(draft!, plans: [plan]).mapValues { $0[0] }
    if let json { try EagleRun.write(results, to: json) }
    try Output.write("draft: \(plan)\n")
    let table = BenchmarkTable.lines(results, mean: results.meanAccLengthInterval)
    for line in table + speedups(results) { try Output.write(line + "\n") }
    try results.values.requireEqualTexts()
  }

  /// A line for each benchmark.
  private func speedups(_ results: [String: BenchmarkResult]) -> [String] {
    results.sorted { $0.key < $1.key }.compactMap { name, result in
      guard let speedup = result.speedupOfPrompts else { return nil }
      let interval = result.speedupInterval.map { ", 95 % interval of the ratio \($0.text)" } ?? ""
      let ratios = String(format: "median %.2f, least %.2f", speedup.median, speedup.least)
      return "  \(name): ratio by prompt: \(ratios)\(interval)"
    }
  }
}

/// Prompt files by the names of their benchmarks.
enum PromptFiles {
  static func named(_ paths: [String]) throws -> [String: String] {
    var named: [String: String] = [:]
    for path in paths {
      let name = URL(fileURLWithPath: path).deletingPathExtension().lastPathComponent
      guard named.updateValue(path, forKey: name) == nil else {
        throw ValidationError("two files of prompts are called \(name): rename one")
      }
    }
    return named
  }
}

extension EvaluateConfig {
  init(_ benchmarks: [String: String], limit: Int, maxTokens: Int) {
    self.init()
    (self.benchmarks, self.limit, maxNewTokens) = (benchmarks, limit, maxTokens)
  }
}

extension Collection<BenchmarkResult> {
  /// - Throws: when a greedy answer differs from that of plain decoding
  func requireEqualTexts() throws {
    let differing = reduce(0) { sum, result in
      (result.contexts ?? []).reduce(sum + result.differing) { $0 + $1.result.differing }
    }
    guard differing == 0 else {
      throw GenerationError(
        "\(differing) texts differ from plain decoding: this is a defect of the program")
    }
  }
}
