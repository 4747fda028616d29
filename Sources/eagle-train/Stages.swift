import ArgumentParser
import EagleCore
import Foundation

struct Regenerate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Let the target answer questions, or the user's turns of conversations, to train on its own answers.")

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
    abstract: "Conversations to token ids, loss masks, draft vocabulary and statistics.")

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
    abstract: "Train, evaluate after each epoch, keep checkpoints, export the best head.")

  @OptionGroup var options: RecipeOptions
  @OptionGroup var dashboard: DashboardOptions

  @Flag(help: "Resume from the newest checkpoint.")
  var resume = false

  func run() throws { try options.run { run in try dashboard.during(run) { try run.train(resume: resume) } } }
}

struct Run: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "All stages: answers, prepare, capture, train, evaluate, export; resumes where it stopped.")

  @OptionGroup var options: RecipeOptions
  @OptionGroup var dashboard: DashboardOptions

  func run() throws { try options.run { run in try dashboard.during(run) { try run.train(resume: true) } } }
}

struct Evaluate: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Acceptance length and speed of a head on each benchmark.")

  @OptionGroup var options: RecipeOptions

  @Option(help: "Folder or .gguf file of the head; by default the run's export.")
  var draft: String?

  func run() throws {
    try options.run { run in
      let results = try run.evaluate(draft: draft)
      guard run.cluster.isRoot else { return }
      try Output.write(try JSONStyle.indentedEscaped.text(results) + "\n")
    }
  }
}
