import ArgumentParser
import EagleChat
import EagleCore
import EagleRunFiles
import EagleTensor

struct Compare: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Compare the acceptance lengths of two heads over the same prompts and held-out conversations.",
    discussion: """
      Each evaluation is the folder of a run, its evaluation.json, or the output of `eagle-train evaluate` or \
      `eagle-run bench --json`. The best epoch of a run counts; RUN#3 selects epoch 3. Differences are computed \
      prompt by prompt and conversation by conversation, with 95 % intervals.
      """)

  @Argument(help: ArgumentHelp("First evaluation.", valueName: "A"))
  var first: String

  @Argument(help: ArgumentHelp("Second evaluation.", valueName: "B"))
  var second: String

  @Flag(help: "Print JSON instead of a table.")
  var json = false

  func run() throws {
    var random = RandomSource.bootstrap
    let comparison = try EvaluationComparison(
      MeasuredBenchmarks(first), MeasuredBenchmarks(second), using: &random)
    let text = json ? try JSONStyle.indented.text(comparison) : comparison.lines().joined(separator: "\n")
    try Output.write(text + "\n")
  }
}
