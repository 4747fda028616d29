import ArgumentParser
import EagleChat
import EagleCore
import EagleRunFiles
import EagleTensor

struct Compare: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Compare the acceptance lengths of two heads over the same prompts, with 95 % intervals.",
    discussion: """
      Each is the folder of a run or its evaluation.json, of which the best epoch counts, or another one (RUN#3), or what \
      `eagle-train evaluate` and `eagle-run bench --json` write. The difference is taken prompt by prompt.
      """)

  @Argument(help: ArgumentHelp("The first evaluation.", valueName: "A"))
  var first: String

  @Argument(help: ArgumentHelp("The second.", valueName: "B"))
  var second: String

  @Flag(help: "Write JSON instead of a table.")
  var json = false

  func run() throws {
    var random = RandomSource.bootstrap
    let comparison = try EvaluationComparison(
      MeasuredBenchmarks(first), MeasuredBenchmarks(second), using: &random)
    let text = json ? try JSONStyle.indented.text(comparison) : comparison.lines().joined(separator: "\n")
    try Output.write(text + "\n")
  }
}
