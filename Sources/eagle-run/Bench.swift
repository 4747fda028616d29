import ArgumentParser
import EagleDecoding
import EagleTraining
import Foundation

struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Answer a file of prompts plainly and speculatively: acceptance length, speed, equal texts.")

  @OptionGroup var models: ModelOptions

  @Option(help: "JSON lines with `turns`, `prompt`, `question` or `problem`.")
  var prompts: String

  @Option(help: "Most prompts to run.")
  var limit = 40

  @Option(help: "Most tokens to generate for a turn.")
  var maxTokens = 256

  @Option(help: "Tokens that the draft proposes in each round.")
  var draftLength = 3

  @Option(help: "File for the result as JSON.")
  var json: String?

  func validate() throws {
    guard models.draft != nil else { throw ValidationError("bench compares: name a head with --draft") }
    guard limit > 0, maxTokens > 0, draftLength > 0 else {
      throw ValidationError("--limit, --max-tokens and --draft-length must be above 0")
    }
  }

  func run() throws {
    let (model, draft) = try models.load()
    var config = EvaluateConfig()
    let name = URL(fileURLWithPath: prompts).deletingPathExtension().lastPathComponent
    (config.benchmarks, config.limit) = ([name: prompts], limit)
    (config.maxNewTokens, config.draftLength) = (maxTokens, draftLength)
    let evaluator = try Evaluator(
      model: model, precision: .fp32, config: config)
    let results = try evaluator.run(draft!)
    for line in EvaluationRecord.table(results) { write(line + "\n") }
    if let differing = results[name]?.differing, differing > 0 {
      throw EagleDecoding.DecodingError(
        "\(differing) texts differ from plain decoding: this is a defect of the program")
    }
    if let json {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
      try encoder.encode(results[name]).write(to: URL(fileURLWithPath: json), options: .atomic)
    }
  }
}
