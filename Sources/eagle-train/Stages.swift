import ArgumentParser
import EagleCore
import Foundation

struct Regenerate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Let the target answer questions or the user turns of conversations, to train on its own answers.")

  @OptionGroup var options: RecipeOptions

  func run() throws { try options.run { try $0.regenerate() } }
}

struct Synthesize: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Let the target generate synthetic conversations, questions and answers, to train without a data set.")

  @OptionGroup var options: RecipeOptions

  func run() throws { try options.run { try $0.synthesize() } }
}

struct Prepare: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Convert conversations to token ids and loss masks, with draft vocabulary and statistics.")

  @OptionGroup var options: RecipeOptions

  func run() throws { try options.run { _ = try $0.prepare() } }
}

struct Capture: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Run the frozen target and store its hidden states.")

  @OptionGroup var options: RecipeOptions

  func run() throws { try options.run { _ = try $0.capture(try $0.prepare()) } }
}

struct Train: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Train a head: evaluate after each epoch, keep checkpoints, and export the best head.")

  @OptionGroup var options: RecipeOptions
  @OptionGroup var dashboard: DashboardOptions

  @Flag(help: "Resume from the newest checkpoint.")
  var resume = false

  func run() throws { try options.run { run in try dashboard.during(run) { try run.train(resume: resume) } } }
}

struct Run: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Run or resume all stages: regenerate, synthesize, prepare, capture, train, evaluate, export.")

  @OptionGroup var options: RecipeOptions
  @OptionGroup var dashboard: DashboardOptions

  func run() throws { try options.run { run in try dashboard.during(run) { try run.train(resume: true) } } }
}

struct Evaluate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measure acceptance length and speed of a head on each benchmark.")

  @OptionGroup var options: RecipeOptions

  @Option(help: "Draft head: a folder or a .gguf file. The default is the exported head of the run.")
  var draft: String?

  func run() throws {
    try options.run { run in
      let results = try run.evaluate(draft: draft)
      guard run.cluster.isRoot else { return }
      try Output.write(try JSONStyle.indentedEscaped.text(results) + "\n")
    }
  }
}
