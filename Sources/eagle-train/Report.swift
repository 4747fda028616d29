import ArgumentParser
import EagleCore
import EagleRecipe
import EagleReport
import EagleRunFiles
import Foundation

struct Report: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Write what a run came to as one HTML page, which needs no network and no scripts.",
    discussion: "Training writes it after each evaluation as well: report.html in the run's folder.")

  @Argument(help: ArgumentHelp("The output folder of a run, or its recipe.", valueName: "run"))
  var source: String

  @Option(help: "File to write; by default report.html in the run's folder.")
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
