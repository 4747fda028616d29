import ArgumentParser
import EagleCore
import EagleRecipe
import EagleReport
import EagleRunFiles
import Foundation

struct Report: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Write the results of a run as one HTML page that needs no network and no scripts.",
    discussion: "Training also writes this page after each evaluation, as report.html in the run's folder.")

  @Argument(help: ArgumentHelp("Output folder of a run, or its recipe.", valueName: "run"))
  var source: String

  @Option(help: "Output file. The default is report.html in the run's folder.")
  var output: String?

  func run() throws {
    let isRecipe = ["yaml", "yml"].contains(URL(fileURLWithPath: source).pathExtension)
    let recipe = try isRecipe ? Recipe.load(path: source) : nil
    let folder = recipe?.output ?? source
    let path = output ?? RunFolder(folder).report
    try RunReport(folder: folder, recipe: try recipe?.canonicalText).write(to: path)
    Output.note("report: \(path)")
  }
}
