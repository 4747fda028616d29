import ArgumentParser
import EagleChat
import EagleCore
import EagleDecoding
import EagleRunFiles
import Foundation

struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Answer files of prompts plainly and speculatively: acceptance length, speed, equal texts.")

  @OptionGroup var models: ModelOptions

  @Option(
    help:
      "Prompts: JSON lines with `turns`, `prompt`, `question` or `problem`, or a CSV of multiple choice; several files."
  )
  var prompts: [String]

  @Option(help: "Most prompts of a file to run.")
  var limit = 40

  @Option(help: "Most tokens to generate for a turn.")
  var maxTokens = 256

  @OptionGroup var plan: PlanOptions

  @Option(help: "File for the result as JSON: one object for each file of prompts.")
  var json: String?

  func validate() throws {
    guard models.draft != nil else { throw ValidationError("bench compares: name a head with --draft") }
    guard limit > 0, maxTokens > 0 else { throw ValidationError("--limit and --max-tokens must be above 0") }
  }

  func run() throws {
    let (model, draft) = try models.load()
    let benchmarks = try PromptFiles.named(prompts)
    let evaluator = try Evaluator(
      model: model, config: EvaluateConfig(benchmarks, limit: limit, maxTokens: maxTokens))
    let plan = try plan.plan(models, model, draft)
    let results = try evaluator.run(draft!, plans: [plan]).mapValues { $0[0] }
    if let json { try EagleRun.write(results, to: json) }
    try Output.write("draft: \(plan)\n")
    for line in EvaluationRecord.table(results) { try Output.write(line + "\n") }
    for (name, result) in results.sorted(by: { $0.key < $1.key }) {
      guard let speedup = result.speedupOfPrompts else { continue }
      try Output.write(
        String(format: "  \(name): ratio by prompt: median %.2f, least %.2f\n", speedup.median, speedup.least))
    }
    try results.values.requireEqualTexts()
  }
}

/// Files of prompts under the names of their benchmarks.
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
  /// - Throws: when a greedy text is not that of plain decoding
  func requireEqualTexts() throws {
    let differing = reduce(0) { $0 + $1.differing }
    guard differing == 0 else {
      throw GenerationError(
        "\(differing) texts differ from plain decoding: this is a defect of the program")
    }
  }
}
